"""What the OpenAPI document promises, the server keeps: requests made from it by schemathesis, good and bad ones."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from parlour.admin.openapi import document
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.fuzzing import examples
from tests.rest import ADMIN, UNLIMITED, Rest

if TYPE_CHECKING:
    from tests.conftest import StartServer

SCHEMA = schemathesis.openapi.from_dict(document())
PATHS = list(document()["paths"])
PROMISES = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
FAULTS = {70401, 70308}


@pytest.fixture
async def rest(start_server: StartServer) -> AsyncIterator[Rest]:
    """A server that can be asked as often and as wrongly as one likes."""
    server = await start_server(
        **UNLIMITED, admin__usersig_endpoint=True, lockout__failures=0, lockout__source_failures=0
    )
    async with Rest.of(server) as found:
        yield found


async def test_answers_are_as_described_whatever_is_asked(rest: Rest) -> None:
    authorized = rest.parameters()
    codes: dict[str, set[int]] = {path: set() for path in PATHS}

    def exercise(path: str, mode: GenerationMode, *, as_admin: bool, count: int) -> None:
        @settings(
            max_examples=examples(count),
            deadline=None,
            derandomize=True,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(case=SCHEMA[path]["POST"].as_strategy(generation_mode=mode))
        def ask(case: Any) -> None:
            options: dict[str, Any] = {}
            if as_admin and path.startswith("/v4/"):
                case.query = dict(authorized)
            elif as_admin:
                options["auth"] = (ADMIN, rest.user_sig)
            answer = case.call(base_url=rest.server.url, **options)
            case.validate_response(answer, checks=PROMISES)
            said = answer.json()
            codes[path].add(said["error"]["code"] if "error" in said else said.get("ErrorCode", 0))

        ask()

    for path in PATHS:
        for mode, as_admin, count in (
            (GenerationMode.POSITIVE, True, 20),
            (GenerationMode.NEGATIVE, True, 20),
            (GenerationMode.POSITIVE, False, 5),
        ):
            # A kick waits for the second to be over, so there are fewer of them.
            few = count if not path.endswith("/kick") else 3
            await asyncio.to_thread(exercise, path, mode, as_admin=as_admin, count=few)
    for path, found in codes.items():
        assert len(found) > 1, path
        assert not FAULTS & found, path
