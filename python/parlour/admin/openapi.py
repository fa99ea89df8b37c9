"""The OpenAPI 3.1 document of the account REST, made from ``wire.py`` and the table of commands."""

from __future__ import annotations

from functools import cache
from typing import Any

import msgspec

from parlour.admin import wire
from parlour.admin.commands import COMMANDS, Command, refusal
from parlour.errors import ErrorCode
from parlour.protocol.words import MAX_SDK_APP_ID, MAX_USER_ID_BYTES

Schema = dict[str, Any]

_REFERENCE = "#/components/schemas/{name}"
_ENVELOPE = ("ActionStatus", "ErrorInfo", "ErrorCode")

_ABOUT = """\
Accounts of apps, over HTTP. The calling convention of `/v4/` is that of the public account API: parameters in the URL,
one JSON object as the body, HTTP status 200 always, and `ActionStatus`, `ErrorInfo`, `ErrorCode` in every answer.
"""

_SERVICES = {
    "im_open_login_svc": "Accounts, as in the public account API.",
    "openim": "Who is online, as in the public account API.",
    "parlour_account": "Accounts of kinds and the blacklist; Parlour's own, in the same convention.",
    "parlour_app": "The app's settings, for its owner; Parlour's own, in the same convention.",
    "usersig": "UserSigs for back ends that cannot sign. Off unless the setting admin.usersig_endpoint is on.",
}

_PARAMETERS: dict[str, Schema] = {
    "sdkappid": {
        "required": True,
        "description": "The app.",
        "schema": {"type": "integer", "minimum": 1, "maximum": MAX_SDK_APP_ID},
        "example": 1400000001,
    },
    "identifier": {
        "required": True,
        "description": "The userId of an administrator of the app.",
        "schema": {"type": "string", "minLength": 1, "maxLength": MAX_USER_ID_BYTES},
        "example": "administrator",
    },
    "usersig": {
        "required": True,
        "description": "A UserSig of that administrator.",
        "schema": {"type": "string", "minLength": 1},
        "example": "eJw…",
    },
    "random": {
        "required": False,
        "description": "Any number, so that no two URLs are equal. Not looked at.",
        "schema": {"type": "integer", "minimum": 0, "maximum": 2**32 - 1},
        "example": 99999999,
    },
    "contenttype": {
        "required": False,
        "description": "Not looked at: bodies are JSON.",
        "schema": {"type": "string"},
        "example": "json",
    },
}

_USERSIG_STATUSES = {
    "400": "The body is not what is expected.",
    "401": "The credential is missing or refused.",
    "403": "The caller is no administrator, or the app is not active or has no secret key.",
    "404": "The endpoint is off, or there is no such app.",
    "405": "The method is not POST.",
    "408": "The body did not come in time.",
    "413": "The body is too large.",
    "429": "Too many calls, or too many wrong credentials.",
    "500": "Something unexpected; the message names an incident in the server's log.",
    "503": "A store is down.",
}


@cache
def document() -> Schema:
    """The whole document, as what JSON is made of."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Parlour account REST",
            "version": "4",
            "description": _ABOUT,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "tags": [{"name": name, "description": text} for name, text in _SERVICES.items()],
        "paths": {f"/v4/{command.name}": {"post": _operation(command)} for command in COMMANDS.values()}
        | {"/api/v1/usersig": {"post": _usersig_operation()}},
        "components": {
            "parameters": {name: {"name": name, "in": "query", **rest} for name, rest in _PARAMETERS.items()},
            "schemas": _schemas(),
            "securitySchemes": {
                "administrator": {
                    "type": "http",
                    "scheme": "basic",
                    "description": "The administrator's userId and UserSig.",
                }
            },
        },
    }


def render() -> bytes:
    """The document as JSON text with a line feed at its end."""
    return msgspec.json.format(wire.encode(document()), indent=2) + b"\n"


def _operation(command: Command) -> Schema:
    service, _, name = command.name.partition("/")
    older = f" An older name of {command.alias_of.partition('/')[2]}." if command.alias_of else ""
    refused = refusal(ErrorCode.SDKAPPID_NOT_FOUND, "There is no app 1400000002.")
    examples = {
        "done": {"value": command.answer_example},
        "refused": {"value": msgspec.to_builtins(refused)},
    }
    return {
        "operationId": f"{service}.{name}",
        "tags": [service],
        "summary": _description(command.body) + older,
        "parameters": [{"$ref": f"#/components/parameters/{parameter}"} for parameter in _PARAMETERS],
        "requestBody": {"required": True, "content": _json(command.body, {"example": command.example})},
        "responses": {
            "200": {
                "description": "Done or refused; ErrorCode tells.",
                "headers": {"Access-Control-Allow-Origin": {"required": True, "schema": {"const": "*"}}},
                "content": _json(command.answer, {"examples": examples}),
            }
        },
    }


def _usersig_operation() -> Schema:
    issued = {
        "userSig": "eJw…",
        "sdkAppId": 1400000001,
        "userId": "ann",
        "issuedAt": 1700000000,
        "expiresAt": 1700086400,
    }
    request = {"sdkAppId": 1400000001, "userId": "ann", "expire": 86400}
    return {
        "operationId": "usersig",
        "tags": ["usersig"],
        "summary": _description(wire.UserSigRequest),
        "security": [{"administrator": []}],
        "requestBody": {"required": True, "content": _json(wire.UserSigRequest, {"example": request})},
        "responses": {
            "200": {
                "description": "The UserSig.",
                "headers": {"Cache-Control": {"required": True, "schema": {"const": "no-store"}}},
                "content": _json(wire.UserSigIssued, {"example": issued}),
            }
        }
        | {
            status: {"description": text, "content": _json(wire.UserSigRefusal, {})}
            for status, text in _USERSIG_STATUSES.items()
        },
    }


def _json(shape: type[msgspec.Struct], more: Schema) -> Schema:
    return {"application/json": {"schema": {"$ref": _REFERENCE.format(name=shape.__name__)}, **more}}


def _schemas() -> dict[str, Schema]:
    shapes: list[type[msgspec.Struct]] = []
    for command in COMMANDS.values():
        shapes += [command.body, command.answer]
    _, components = msgspec.json.schema_components(
        [*shapes, wire.Answer, wire.UserSigRequest, wire.UserSigIssued, wire.UserSigRefusal], ref_template=_REFERENCE
    )
    for name, schema in components.items():
        schema["description"] = _description(getattr(wire, name))
        if issubclass(getattr(wire, name), wire.Answer):
            # They have defaults in Python; on the wire they are always there.
            schema["required"] = list(_ENVELOPE)
            for member in _ENVELOPE:
                schema["properties"][member].pop("default", None)
    for body in (wire.AppGet, wire.AppSet):
        # Absent it is refused like any wrong number, with a code of its own; the type has a default for that alone.
        schema = components[body.__name__]
        schema["required"] = ["Uin"]
        del schema["properties"]["Uin"]["default"]
    return dict(sorted(components.items()))


def _description(shape: type[msgspec.Struct]) -> str:
    """The docstring of a structure as Markdown, a paragraph a line."""
    paragraphs = (shape.__doc__ or "").replace("``", "`").split("\n\n")
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)
