"""Verifiers of the operator's own: code that has a say in every login, after the built-in checks.

A verifier is named by the setting ``plugins.verifiers`` as ``module:attribute``. It is called with an ``Applicant``
and returns nothing to let the login pass; ``Refuse`` refuses it with 70018. Any other exception is a fault of the
account service (70308). A plain function runs in a thread, a coroutine function in the server's loop; either has
``timeout`` seconds (70017).
"""

from __future__ import annotations

import asyncio
import importlib
import inspect
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from parlour.accounts.refusal import AccountRefusedError
from parlour.errors import ErrorCode

VERIFIER_TIMEOUT = 3.0
"""Seconds that one verifier has."""


@dataclass(frozen=True, slots=True)
class Applicant:
    """Who wants to log in; ``credential`` is the UserSig, or what third-party verification took in its place."""

    sdk_app_id: int
    user_id: str
    credential: str = field(repr=False)
    source: str


class Refuse(Exception):
    """Raised by a verifier to refuse a login; the text goes to the client."""


class VerifierFailedError(Exception):
    """A verifier failed in a way of its own; the text is its traceback, without the credential that it judged."""


class PluginError(Exception):
    """A plugin cannot be loaded; the text is one sentence."""


Verifier = Callable[[Applicant], Any]


def load(name: str) -> Callable[..., Any]:
    """What ``module:attribute`` names. Raises ``PluginError``."""
    module_name, _, attribute = name.partition(":")
    try:
        found = getattr(importlib.import_module(module_name), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise PluginError(f"The plugin {name} cannot be loaded: {error}. It is written module:attribute.") from None
    if not callable(found):
        raise PluginError(f"The plugin {name} cannot be called: it is a {type(found).__name__}.")
    return found  # type: ignore[no-any-return]


async def ask(verifiers: Sequence[Verifier], applicant: Applicant, timeout: float = VERIFIER_TIMEOUT) -> None:
    """Ask every verifier in turn; the first that refuses ends it."""
    for verifier in verifiers:
        try:
            async with asyncio.timeout(timeout):
                if inspect.iscoroutinefunction(verifier):
                    verdict = verifier(applicant)
                else:
                    verdict = await asyncio.to_thread(verifier, applicant)
                if inspect.isawaitable(verdict):  # also of an object whose __call__ is one, or of a wrapped one
                    await verdict
        except Refuse as refusal:
            raise AccountRefusedError(
                ErrorCode.THIRD_PARTY_VERIFICATION_FAILED,
                f"a verifier refused: {_without_credential(str(refusal), applicant)[:200]}",
            ) from None
        except TimeoutError:
            raise AccountRefusedError(
                ErrorCode.THIRD_PARTY_VERIFICATION_TIMEOUT, f"a verifier did not answer within {timeout:g} s"
            ) from None
        except Exception as error:
            trace = "".join(traceback.format_exception(error))
            raise VerifierFailedError(_without_credential(trace, applicant)) from None


def _without_credential(text: str, applicant: Applicant) -> str:
    """What a verifier says may quote what it was given; neither a log nor an answer may."""
    for form in (applicant.credential, repr(applicant.credential)[1:-1]):
        if form:
            text = text.replace(form, "[credential]")
    return text
