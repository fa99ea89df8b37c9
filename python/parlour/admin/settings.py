"""What an operator can set about the account REST."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class AdminSettings:
    """From the tables ``[admin]`` and ``[plugins]``. Sizes in bytes, times in seconds.

    ``body_bytes`` bounds the body of a request and ``body_timeout`` the time until all of it is here.
    ``usersig_endpoint`` opens ``POST /api/v1/usersig``. ``rest_middleware`` names plugins, ``module:attribute``, the
    first being the outermost; see ``parlour.admin.plugins``.
    """

    body_bytes: int = 1024 * 1024
    body_timeout: float = 10.0
    usersig_endpoint: bool = False
    rest_middleware: tuple[str, ...] = ()
