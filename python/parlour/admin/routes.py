"""Where the account REST is mounted."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from parlour.accounts import AccountManager, Accounts
from parlour.admin.exchange import BoundedApp
from parlour.admin.openapi import render
from parlour.admin.plugins import load_plugins
from parlour.admin.rest import AccountRest, SourceOf, peer_address
from parlour.admin.settings import AdminSettings
from parlour.admin.usersig_endpoint import MAX_BODY, UserSigEndpoint


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
    timeout = settings.body_timeout
    plugins = load_plugins(settings.rest_middleware)
    rest = BoundedApp(
        AccountRest(accounts, manager, plugins, source_of).respond, body_bytes=settings.body_bytes, body_timeout=timeout
    )
    usersig = BoundedApp(
        UserSigEndpoint(accounts, manager, source_of, is_open=settings.usersig_endpoint).respond,
        body_bytes=min(MAX_BODY, settings.body_bytes),
        body_timeout=timeout,
    )
    description = render()

    async def openapi(_: Request) -> Response:
        return Response(description, media_type="application/json", headers={"Cache-Control": "public, max-age=300"})

    return [
        Route("/v4", rest),
        Route("/v4/{path:path}", rest),
        Route("/api/v1/usersig", usersig),
        Route("/openapi.json", openapi),
    ]
