"""Verifiers of the operator's own: code that has a say in every login, after the built-in checks.

A verifier is named by the setting ``plugins.verifiers`` as ``module:attribute``. It is called with an ``Applicant``
and returns nothing to let the login pass; ``Refuse`` refuses it with 70018. Any other exception is a fault of the
account service (70308). A plain function runs in a thread, a coroutine function in the server's loop; either has
``timeout`` seconds (70017).
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import inspect
import threading
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from parlour.accounts.fair_semaphore import FairSemaphore, TooManyWaitError
from parlour.accounts.refusal import AccountRefusedError
from parlour.errors import ErrorCode

VERIFIER_TIMEOUT = 3.0
"""Seconds that one verifier has."""

MOST_CALLS = 64
"""Calls of one verifier under way at a time, a thread each; who comes later waits for a turn."""

MOST_CALLS_PER_SOURCE = 16
"""Of these for logins from one address."""


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


class BoundedVerifier:
    """A verifier with a bound of its own: while it is slow for some, neither others nor other verifiers wait for them.

    ``timeout`` in seconds.
    """

    def __init__(self, verifier: Verifier, timeout: float = VERIFIER_TIMEOUT) -> None:
        self._verifier = verifier
        self._timeout = timeout
        self._semaphore = FairSemaphore(MOST_CALLS, MOST_CALLS_PER_SOURCE)

    async def ask(self, applicant: Applicant, source: str) -> None:
        """Let it judge; ``source`` is as lock-out counts it. Raises ``AccountRefusedError`` 70018 or 70017.

        ``VerifierFailedError`` when it fails in a way of its own.
        """
        try:
            async with asyncio.timeout(self._timeout):
                await self._semaphore.acquire(source)
                await self._in_place(applicant, source)
        except Refuse as refusal:
            raise AccountRefusedError(
                ErrorCode.THIRD_PARTY_VERIFICATION_FAILED,
                f"a verifier refused: {_without_credential(str(refusal), applicant)[:200]}",
            ) from None
        except (TimeoutError, TooManyWaitError):
            raise AccountRefusedError(
                ErrorCode.THIRD_PARTY_VERIFICATION_TIMEOUT, f"a verifier did not answer within {self._timeout:g} s"
            ) from None
        except Exception as error:
            trace = "".join(traceback.format_exception(error))
            raise VerifierFailedError(_without_credential(trace, applicant)) from None

    async def _in_place(self, applicant: Applicant, source: str) -> None:
        thread: asyncio.Future[Any] | None = None
        try:
            if inspect.iscoroutinefunction(self._verifier):
                verdict = self._verifier(applicant)
            else:
                thread = _in_thread(self._verifier, applicant)
                verdict = await asyncio.shield(thread)
            if inspect.isawaitable(verdict):  # also of an object whose __call__ is one, or of a wrapped one
                await verdict
        finally:
            if thread is None or thread.done():
                self._semaphore.release(source)
            else:  # its thread cannot be stopped, and takes its place for as long as it runs
                thread.add_done_callback(lambda done: self._ended(done, source))

    def _ended(self, thread: asyncio.Future[Any], source: str) -> None:
        self._semaphore.release(source)
        if not thread.cancelled():
            thread.exception()  # looked at: nobody waits for it any more


def _in_thread(verifier: Verifier, applicant: Applicant) -> asyncio.Future[Any]:
    """Call it in a thread of its own. One that never returns does not keep the process from ending."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[Any] = loop.create_future()

    def settle(result: object, error: Exception | None) -> None:
        if future.done():
            return
        if error is None:
            future.set_result(result)
        elif isinstance(error, StopIteration):  # no future takes one
            future.set_exception(RuntimeError("StopIteration"))
        else:
            future.set_exception(error)

    def run() -> None:
        result: object = None
        failure: Exception | None = None
        try:
            result = verifier(applicant)
        except Exception as error:
            failure = error
        except BaseException as error:  # it called sys.exit, or what it ran was cancelled: its turn is over, too
            failure = RuntimeError(f"the verifier raised {type(error).__name__}: {error}")
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(settle, result, failure)

    threading.Thread(target=run, name="parlour-verifier", daemon=True).start()
    return future


def _without_credential(text: str, applicant: Applicant) -> str:
    """What a verifier says may quote what it was given; neither a log nor an answer may."""
    for form in (applicant.credential, repr(applicant.credential)[1:-1]):
        if form:
            text = text.replace(form, "[credential]")
    return text
