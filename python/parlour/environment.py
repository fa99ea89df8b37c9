"""Which variables of the environment are settings of Parlour: whoever starts a process may set others of that prefix.

Kubernetes gives every container the addresses of the services beside it, in variables that begin with the name of the
service (https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables). For services named
``parlour`` or ``parlour-media`` these look like settings, and ``PARLOUR_PORT`` is the name of one.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping

_SERVICE = re.compile(r".*_(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)")
_ADDRESS = re.compile(r"(tcp|udp|sctp)://\S+:\d+")


def injected(name: str, value: str) -> bool:
    """Whether an orchestrator set this variable to tell where a service is; it is no setting then."""
    name = name.upper()
    return _SERVICE.fullmatch(name) is not None or (name.endswith("_PORT") and _ADDRESS.fullmatch(value) is not None)


def settings_of(environment: Mapping[str, str], known: Iterable[str]) -> dict[str, str]:
    """The variables that are settings. ``known`` are their names in capitals; any case is taken."""
    names = set(known)
    return {name: value for name, value in environment.items() if name.upper() in names and not injected(name, value)}


def unknown(environment: Mapping[str, str], prefix: str, known: Iterable[str]) -> list[str]:
    """A sentence for each variable that has the prefix, is no setting, and came from no orchestrator."""
    names = set(known)
    return [
        f"The environment variable {name} is no setting of Parlour and is left alone."
        + did_you_mean(name.upper(), names, prefix)
        for name, value in sorted(environment.items())
        if name.upper().startswith(prefix) and name.upper() not in names and not injected(name, value)
    ]


def did_you_mean(name: str, known: Iterable[str], prefix: str = "") -> str:
    """The nearest of the known names as a question to put behind a sentence; empty when none is near.

    ``prefix`` is what all of them begin with, which makes none of them nearer.
    """
    tails = [one.removeprefix(prefix) for one in known]
    close = difflib.get_close_matches(name.removeprefix(prefix), tails, n=1)
    return f" Did you mean {prefix}{close[0]}?" if close else ""
