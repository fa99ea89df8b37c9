"""Plugins of the account REST: code of the operator's that sees every call.

A plugin is an async function, named in the setting ``plugins.rest_middleware`` as ``module:attribute``::

    async def office_hours(call: Call, proceed: Proceed) -> Answer:
        if call.service == "parlour_app" and not open_now():
            raise AccountRefusedError(ErrorCode.REQUEST_DISABLED, "Apps are changed from nine to five only.")
        return await proceed()

It may look at the call, refuse it, let it proceed, and look at or replace the answer. It runs before the checks, so
what the call says of itself is not proved yet. The credential is not shown to it. A plugin that raises anything but
``AccountRefusedError`` fails the call with 70401.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from parlour.accounts.plugins import load
from parlour.admin.wire import Answer


@dataclass(frozen=True, slots=True)
class Call:
    """A call as it came in; ``sdk_app_id`` and ``identifier`` are texts of the URL, empty when they are missing."""

    service: str
    command: str
    sdk_app_id: str
    identifier: str
    source: str


Proceed = Callable[[], Awaitable[Answer]]
Plugin = Callable[[Call, Proceed], Awaitable[Answer]]


def load_plugins(names: Sequence[str]) -> tuple[Plugin, ...]:
    """Import plugins by their names. Raises PluginError with a sentence about the one that cannot be used."""
    return tuple(load(name) for name in names)


async def through(plugins: Sequence[Plugin], call: Call, last: Proceed) -> Answer:
    """The answer of ``last``, seen by every plugin from the first, the outermost, to the last."""
    if not plugins:
        return await last()
    answer: object = await plugins[0](call, lambda: through(plugins[1:], call, last))
    if not isinstance(answer, Answer):
        raise TypeError(f"the plugin {plugins[0]!r} returned a {type(answer).__name__} and no Answer")
    return answer
