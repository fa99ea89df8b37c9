"""The OpenAPI document: fresh, complete, and true to what is read and answered."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
from parlour.admin import generate, wire
from parlour.admin.commands import COMMANDS, RATES
from parlour.admin.openapi import document, render
from parlour.settings import known_keys

from tests.unit.admin_memory import running

ROOT = Path(__file__).parents[2]


def schema_of(part: dict[str, Any]) -> Any:
    """A validator of the schema in a media type of the document."""
    return jsonschema_rs.validator_for(
        part["schema"]
        | {"components": document()["components"], "$schema": "https://json-schema.org/draft/2020-12/schema"}
    )


def test_the_file_in_the_docs_is_fresh_and_a_stale_one_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert (ROOT / generate.TARGET).read_bytes() == render()
    assert generate.main(["--check"]) == 0
    assert generate.main(["--check", "--root", str(tmp_path)]) == 1
    assert "docs/openapi.json is stale" in capsys.readouterr().err
    assert generate.main(["--root", str(tmp_path)]) == 0
    assert generate.main(["--check", "--root", str(tmp_path)]) == 0


def test_every_command_is_described_with_examples_that_fit_their_schemas() -> None:
    for command in COMMANDS.values():
        operation = document()["paths"][f"/v4/{command.name}"]["post"]
        request = operation["requestBody"]["content"]["application/json"]
        schema_of(request).validate(request["example"])
        assert isinstance(command.read(request["example"]), command.body)
        answer = operation["responses"]["200"]["content"]["application/json"]
        for example in answer["examples"].values():
            schema_of(answer).validate(example["value"])
        assert operation["summary"]


def test_an_answer_cannot_lack_what_every_answer_holds() -> None:
    validator = schema_of({"schema": {"$ref": "#/components/schemas/ItemResults"}})
    assert validator.is_valid({"ActionStatus": "OK", "ErrorInfo": "", "ErrorCode": 0, "ResultItem": []})
    for name in ("ActionStatus", "ErrorInfo", "ErrorCode"):
        whole = {"ActionStatus": "OK", "ErrorInfo": "", "ErrorCode": 0}
        del whole[name]
        assert not validator.is_valid(whole)


def test_every_rate_is_a_setting_and_an_older_name_shares_that_of_the_newer() -> None:
    assert {f"rates.{name}" for name in RATES} == {key for key in known_keys() if key.startswith("rates.")}
    assert COMMANDS["openim/querystate"].rate == COMMANDS["openim/query_online_status"].rate


def test_every_structure_of_the_wire_is_in_it() -> None:
    kinds = [value for value in vars(wire).values() if isinstance(value, type) and issubclass(value, wire.Struct)]
    bases = {"Struct", "Structure", "Body", "TypedBody", "AppChanges"}
    assert {kind.__name__ for kind in kinds} - bases == set(document()["components"]["schemas"])


async def test_the_server_serves_it() -> None:
    async with running() as rest:
        answer = await rest.client.get("/openapi.json")
        assert answer.headers["content-type"] == "application/json"
        assert answer.content == render()
        assert json.loads(answer.content)["openapi"] == "3.1.0"
