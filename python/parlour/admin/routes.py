"""Where the account REST is mounted."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from parlour.accounts import AccountManager, Accounts
from parlour.admin.openapi import render
from parlour.admin.plugins import load_plugins
from parlour.admin.rest import AccountRest, SourceOf, peer_address
from parlour.admin.settings import AdminSettings
from parlour.admin.usersig_endpoint import UserSigEndpoint


def create_admin_routes(
    accounts: Accounts,
    manager: AccountManager,
    settings: AdminSettings,
    *,
    source_of: SourceOf = peer_address,
) -> list[BaseRoute]:
    """The routes ``/v4/…``, ``/api/v1/usersig`` and ``/openapi.json``.

    ``source_of`` finds the client's address, which lock-outs count by. Raises PluginError with a sentence when a
    plugin of ``settings.rest_middleware`` cannot be loaded.
    """
    rest = AccountRest(accounts, manager, settings, load_plugins(settings.rest_middleware), source_of)
    description = render()

    async def openapi(_: Request) -> Response:
        return Response(description, media_type="application/json", headers={"Cache-Control": "public, max-age=300"})

    return [
        Route("/v4", rest),
        Route("/v4/{path:path}", rest),
        Route("/api/v1/usersig", UserSigEndpoint(accounts, manager, settings, source_of)),
        Route("/openapi.json", openapi),
    ]
