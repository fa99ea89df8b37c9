"""Apps as commands show them: in pairs for people, as JSON for programs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from parlour.cli.output import when

if TYPE_CHECKING:
    from parlour.storage import App, Verification

STATES = {
    "active": "active",
    "suspended": "suspended: nobody enters a room (10006)",
    "disabled": "disabled, as if never enabled: nobody enters a room (-100027), no account REST (60016)",
}


def app_as_json(app: App, *, keys: bool) -> dict[str, object]:
    """Everything about an app. Limits that are null are the server's; secrets only with ``keys``."""
    shown: dict[str, object] = {
        "sdkAppId": app.sdk_app_id,
        "name": app.name,
        "state": app.state,
        "createdAt": app.created_at,
        "accountType": app.account_type,
        "owner": app.owner,
        "admins": list(app.admins),
        "registration": app.registration,
        "kinds": list(app.kinds),
        "advancedPermission": app.advanced_permission,
        "limits": {
            "maxAccounts": app.limits.max_accounts,
            "loginsPerSecond": app.limits.logins_per_second,
            "requestsPerSecond": app.limits.requests_per_second,
        },
        "verification": verification_as_json(app.verification, secret=keys),
    }
    if keys:
        shown |= {"keys": list(app.keys.secrets), "publicKeys": list(app.keys.public_keys)}
    return shown


def verification_as_json(how: Verification | None, *, secret: bool) -> dict[str, str] | None:
    """Third-party verification; the secret that signs calls to an endpoint only if asked for."""
    from parlour.storage import EndpointVerification

    if how is None:
        return None
    if isinstance(how, EndpointVerification):
        return {"mode": "endpoint", "url": how.url} | ({"secret": how.secret} if secret else {})
    return {"mode": "oidc", "issuer": how.issuer, "audience": how.audience, "claim": how.claim}


def app_pairs(app: App, accounts: int, *, keys: bool) -> list[tuple[str, object]]:
    """Everything about an app, as names and values."""
    pairs: list[tuple[str, object]] = [
        ("sdkAppId", app.sdk_app_id),
        ("name", app.name or "-"),
        ("state", STATES[app.state]),
        ("made", when(app.created_at)),
        ("keys", counted_keys(app)),
    ]
    if keys:
        pairs += [("secret key", secret) for secret in app.keys.secrets]
        pairs += [("public key", "".join(pem.strip().splitlines()[1:-1])) for pem in app.keys.public_keys]
    return [
        *pairs,
        ("account type", "none (70204)" if app.account_type is None else app.account_type),
        ("owner", "none" if app.owner is None else app.owner),
        ("admins", ", ".join(app.admins) or "none: nobody may call the account REST"),
        ("registration", _REGISTRATIONS[app.registration]),
        ("kinds", ", ".join(app.kinds)),
        ("advanced permission", "on: entering a room needs a privateMapKey" if app.advanced_permission else "off"),
        ("accounts", accounts),
        ("accounts at most", _bound(app.limits.max_accounts)),
        ("logins a second", _bound(app.limits.logins_per_second)),
        ("requests a second", _bound(app.limits.requests_per_second)),
        ("verified by", _verified_by(app.verification, secret=keys)),
    ]


def counted_keys(app: App) -> str:
    """How many keys of each kind."""
    public = len(app.keys.public_keys)
    return f"{len(app.keys.secrets)} secret" + (f", {public} public" if public else "")


_REGISTRATIONS = {
    "automatic": "automatic: a first login makes the account",
    "imported": "imported: only accounts that were imported log in",
}


def _bound(bound: int | None) -> str:
    if bound is None:
        return "as the server's settings say"
    return str(bound) if bound else "no bound"


def _verified_by(how: Verification | None, *, secret: bool) -> str:
    told = verification_as_json(how, secret=secret)
    if told is None:
        return "UserSig"
    if told["mode"] == "endpoint":
        return f"the endpoint {told['url']}" + (f", signing secret {told['secret']}" if secret else "")
    return f"the issuer {told['issuer']}, audience {told['audience']}, userId in {told['claim']}"
