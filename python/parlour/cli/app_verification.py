"""``parlour app verify-with``: who judges the credentials of an app besides its own keys."""

from __future__ import annotations

import secrets
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from parlour.cli.app_view import verification_as_json
from parlour.cli.arguments import AppArgument, parse_one_of, parse_secret
from parlour.cli.options import StoreOptions, on_stores
from parlour.cli.output import message, print_json, print_line, print_pairs
from parlour.cli.store import known_app

if TYPE_CHECKING:
    from parlour.storage import App, Storage, Verification

MODES = ("endpoint", "oidc", "none")
SECRET_BYTES = 32


@on_stores
def verify_with(
    options: StoreOptions,
    sdk_app_id: AppArgument,
    mode: Annotated[str, typer.Argument(metavar="endpoint|oidc|none", help="Who judges; none for UserSigs alone.")],
    address: Annotated[
        str | None, typer.Argument(metavar="[URL|ISSUER]", help="Its https address.", show_default=False)
    ] = None,
    secret: Annotated[
        str | None,
        typer.Option(
            metavar="TEXT",
            help="For an endpoint: what signs the calls; - reads it. Default: the one it has, else a fresh one.",
        ),
    ] = None,
    audience: Annotated[
        str | None, typer.Option(metavar="AUD", help="For an issuer: the audience that its ID tokens are for.")
    ] = None,
    claim: Annotated[str, typer.Option(help="For an issuer: the claim that holds the userId.")] = "sub",
) -> None:
    """Say who judges credentials beside the app's keys. That is an https endpoint, an OpenID Connect issuer, or nobody.

    What either has to do is in docs/third-party.md.
    """
    parse_one_of(mode, "endpoint|oidc|none", MODES)
    checked = _checked_address(mode, address)
    if mode != "endpoint" and secret is not None:
        raise typer.BadParameter("only an endpoint has a signing secret", param_hint="--secret")
    if mode != "oidc" and audience is not None:
        raise typer.BadParameter("only an issuer has an audience", param_hint="--audience")
    if mode == "oidc" and not audience:
        raise typer.BadParameter("say which audience the ID tokens are for", param_hint="--audience")
    if not claim:
        raise typer.BadParameter("the name of the claim is empty", param_hint="--claim")
    given = None if secret is None else parse_secret(secret, "--secret")

    from parlour.storage import EndpointVerification, OidcVerification

    def verified(app: App) -> App:
        how: Verification | None = None
        if mode == "endpoint":
            there = app.verification.secret if isinstance(app.verification, EndpointVerification) else None
            how = EndpointVerification(checked, given or there or secrets.token_hex(SECRET_BYTES))
        elif mode == "oidc":
            how = OidcVerification(checked, audience or "", claim)
        return replace(app, verification=how)

    async def work(storage: Storage) -> Verification | None:
        await known_app(storage, sdk_app_id)
        return (await storage.edit_app(sdk_app_id, verified)).verification

    how = options.run(work)
    if options.as_json:
        print_json({"sdkAppId": sdk_app_id, "verification": verification_as_json(how, secret=True)})
        return
    if how is None:
        print_line(f"App {sdk_app_id} is verified by UserSig alone.")
        return
    pairs = verification_as_json(how, secret=True) or {}
    print_pairs([("sdkAppId", sdk_app_id), *pairs.items()])
    if mode == "endpoint":
        message("\nThe secret signs the calls to the endpoint, which has to check them: see docs/third-party.md.")


def _checked_address(mode: str, address: str | None) -> str:
    if mode == "none":
        if address is not None:
            raise typer.BadParameter("none has no address", param_hint="URL")
        return ""
    from parlour.accounts.verification import checked_endpoint_url, checked_issuer

    check, what = (checked_endpoint_url, "URL") if mode == "endpoint" else (checked_issuer, "ISSUER")
    try:
        return check(address or "")
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint=what) from None
