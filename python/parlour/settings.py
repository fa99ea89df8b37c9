"""Settings: defaults, then a TOML file, then the environment, then what the command line gives.

Every key stands with its default in ``settings.sample.toml``, and a test keeps that file complete.
"""

from __future__ import annotations

import ipaddress
import os
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from parlour.environment import did_you_mean, injected, settings_of, unknown

ENV_PREFIX = "PARLOUR_"
_NESTED = "__"

Port = Annotated[int, Field(ge=0, le=65535)]
Seconds = Annotated[float, Field(gt=0, le=86_400)]
Count = Annotated[int, Field(ge=1, le=1_000_000)]
Bound = Annotated[int, Field(ge=0, le=1_000_000_000)]
"""How many there may be; 0 means any number."""


def _empty_is_none(value: object) -> object:
    return None if value == "" else value


def _comma_separated(value: object) -> object:
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


def _expanded(value: object) -> object:
    return Path(value).expanduser() if isinstance(value, str | Path) else value


def _network(value: str) -> str:
    try:
        return str(ipaddress.ip_network(value, strict=False))
    except ValueError:
        raise ValueError(f"{value!r} is no IP address and no network like 10.0.0.0/8") from None


_INTERFACE = re.compile(r"[!-.0-~]{1,15}")
"""What Linux takes for the name of an interface; a slash and white space are not."""


def _announced(value: object) -> str:
    """An address that clients can send to, in one spelling, or the name of an interface."""
    text = str(value).strip()
    try:
        address = ipaddress.ip_address(text.removeprefix("[").removesuffix("]"))
    except ValueError:
        # Of what looks like an address it is said that it is none, not that no interface has that name.
        if re.fullmatch(r"[\d.]+|.*:.*", text) or not _INTERFACE.fullmatch(text) or text in {".", ".."}:
            raise ValueError(f"{text!r} is no IP address and no name of an interface") from None
        return text
    if isinstance(address, ipaddress.IPv6Address):
        if address.scope_id is not None:
            raise ValueError(f"{text} has a zone, which means nothing to clients; give the address without it")
        address = address.ipv4_mapped or address
    if address.is_unspecified or address.is_multicast:
        raise ValueError(f"{address} is no address that a client can send to; give one of this machine or of its NAT")
    if address.version == 6 and address.is_link_local:
        raise ValueError(f"{address} is link-local, where clients find nobody without a zone; give another address")
    return str(address)


OptionalFile = Annotated[Path | None, BeforeValidator(_expanded), BeforeValidator(_empty_is_none)]
Folder = Annotated[Path, BeforeValidator(_expanded)]
Secret = Annotated[str, Field(repr=False)]
"""A text that holds a secret, or may: it is not shown, neither in messages nor in logs."""

LEAST_TOKEN = 16

Names = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_comma_separated)]
Networks = Annotated[tuple[Annotated[str, AfterValidator(_network)], ...], NoDecode, BeforeValidator(_comma_separated)]


class SettingsError(Exception):
    """A setting cannot be used; the text is one sentence that names where it stands and its key."""


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class LimitsTable(_Table):
    """Bounds on what clients may cost."""

    message_bytes: Annotated[int, Field(ge=1024, le=16 * 1024 * 1024)] = 262_144
    messages_per_second: Annotated[float, Field(gt=0, le=1_000_000)] = 50
    message_burst: Count = 400
    send_queue: Count = 256
    connections: Count = 10_000
    connections_per_source: Count = 2_000
    strangers_per_source: Count = 500
    request_timeout: Seconds = 10
    login_timeout: Seconds = 10
    store_timeout: Seconds = 5
    ticket_lifetime: Seconds = 600


class SignalingTable(_Table):
    """The heartbeat of the signaling channel, in seconds."""

    heartbeat_interval: Seconds = 10
    socket_timeout: Seconds = 30


class RoomsTable(_Table):
    """Sizes and times of rooms."""

    resume_timeout: Annotated[float, Field(ge=0, le=86_400)] = 90
    max_members: Count = 300
    max_audience: Count = 100_000
    max_publishers: Count = 50
    last_n: Bound = 0


class MediaTable(_Table):
    """What clients are told about the media port, and how much they may send there."""

    announce: Annotated[
        tuple[Annotated[str, BeforeValidator(_announced)], ...], NoDecode, BeforeValidator(_comma_separated)
    ] = ()
    shards: Annotated[int, Field(ge=0, le=256)] = 0
    ingress_bitrate: Annotated[int, Field(ge=100_000, le=10_000_000_000)] = 20_000_000
    ingress_burst: Annotated[float, Field(ge=0, le=60)] = 0.5
    max_transports: Annotated[int, Field(ge=2, le=10_000)] = 10_000
    padding: bool = True
    adapt: bool = True
    segmentation: bool = True
    tcp: bool = True
    tcp_connections: Count = 4_000
    tcp_connections_per_source: Count = 1_000
    tcp_strangers_per_source: Count = 100


class AccountsTable(_Table):
    """Bounds of every app that has none of its own, and times of the account system in seconds."""

    logins_per_second: Bound = 200
    max_accounts: Bound = 0
    offline_after: Seconds = 60
    batch_timeout: Seconds = 3


class LockoutTable(_Table):
    """When failed logins lock: how many within ``window`` seconds, for ``duration`` seconds. A count of 0: never."""

    failures: Bound = 10
    source_failures: Bound = 100
    window: Seconds = 60
    duration: Seconds = 60


class AdminTable(_Table):
    """The account REST."""

    rest: bool = True
    usersig_endpoint: bool = False
    body_bytes: Annotated[int, Field(ge=1024, le=64 * 1024 * 1024)] = 1024 * 1024
    body_timeout: Seconds = 10
    requests_per_second: Bound = 1000


class RatesTable(_Table):
    """Calls of each command that one app may make in a second; 0 means any number."""

    account_import: Bound = 200
    multiaccount_import: Bound = 100
    account_delete: Bound = 100
    account_check: Bound = 100
    kick: Bound = 200
    query_online_status: Bound = 200
    register_account: Bound = 200
    register_accounts: Bound = 100
    blacklist_add: Bound = 100
    blacklist_delete: Bound = 100
    blacklist_get: Bound = 100
    app_get: Bound = 100
    app_set: Bound = 100
    usersig: Bound = 200


class VerificationTable(_Table):
    """Third-party verification of logins."""

    timeout: Seconds = 3
    allow_private: bool = False
    ca_file: OptionalFile = None


def _token(value: str) -> str:
    if value and (len(value) < LEAST_TOKEN or not value.isascii() or not value.isprintable() or " " in value):
        raise ValueError(f"a token has {LEAST_TOKEN} printable ASCII characters or more, and no space")
    return value


class MetricsTable(_Table):
    """The numbers for Prometheus, and traces."""

    enabled: bool = True
    token: Annotated[str, Field(repr=False), AfterValidator(_token)] = ""
    rooms: Annotated[int, Field(ge=0, le=1000)] = 20
    users: Annotated[int, Field(ge=0, le=2000)] = 100
    traces: bool = False


class PluginsTable(_Table):
    """Code of the operator's, as ``module:attribute``."""

    verifiers: Names = ()
    rest_middleware: Names = ()


class Settings(BaseSettings):
    """Everything one can set. Build it with ``load_settings`` for errors in sentences."""

    model_config = SettingsConfigDict(
        extra="forbid", frozen=True, env_prefix=ENV_PREFIX, env_nested_delimiter=_NESTED, validate_default=True
    )

    host: Annotated[str, Field(min_length=1)] = "127.0.0.1"
    port: Port = 8080
    media_port: Port = 8081
    data: Folder = Path("~/.local/share/parlour")
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_json: bool = False
    tls_cert: OptionalFile = None
    tls_key: OptionalFile = None
    tls_self_signed: bool = False
    database: Secret = ""
    login_state: Secret = ""
    counters: Secret = ""
    master_key: Secret = ""
    master_key_file: OptionalFile = None
    trusted_proxies: Networks = ()
    limits: LimitsTable = LimitsTable()
    signaling: SignalingTable = SignalingTable()
    rooms: RoomsTable = RoomsTable()
    media: MediaTable = MediaTable()
    accounts: AccountsTable = AccountsTable()
    lockout: LockoutTable = LockoutTable()
    admin: AdminTable = AdminTable()
    rates: RatesTable = RatesTable()
    verification: VerificationTable = VerificationTable()
    metrics: MetricsTable = MetricsTable()
    plugins: PluginsTable = PluginsTable()

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if (self.tls_cert is None) != (self.tls_key is None):
            raise ValueError("tls_cert and tls_key belong together: give both or none")
        if self.tls_cert is not None and self.tls_self_signed:
            raise ValueError("tls_self_signed makes a certificate of its own: leave out either it or tls_cert")
        for name in ("database", "login_state", "counters"):
            place = getattr(self, name)
            schemes = ("postgresql://", "postgres://", "sqlite://")
            # A bare name is no path: it may be an address that was mistyped, with a password in it.
            if place and not place.startswith((*schemes, "/", "./", "../", "~")):
                raise ValueError(f"{name} has to be postgresql://user:password@host/name or the path of an SQLite file")
        if self.master_key and self.master_key_file is not None:
            raise ValueError("master_key and master_key_file are two places for one thing: leave out one of them")
        if self.signaling.socket_timeout <= self.signaling.heartbeat_interval:
            raise ValueError("signaling.socket_timeout must be longer than signaling.heartbeat_interval")
        return self

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Command line, environment, and the file that ``load_settings`` names."""
        return (init_settings, _Environment(settings_cls), _File(settings_cls))


def load_settings(
    config: Path | None = None,
    overrides: Mapping[str, object] | None = None,
    *,
    warn: Callable[[str], None] | None = None,
) -> Settings:
    """The settings from a TOML file, the environment and ``overrides``, the later one winning.

    ``overrides`` come from the command line: dotted keys (``"limits.message_bytes"``); None means "not given".
    ``warn`` is told, in a sentence each, of variables that have our prefix and are no settings: others may set them.
    Raises ``SettingsError``.
    """
    given = {key: value for key, value in (overrides or {}).items() if value is not None}
    if warn is not None:
        for sentence in unknown(os.environ, ENV_PREFIX, _variables()):
            warn(sentence)

    class WithFile(Settings):
        model_config = SettingsConfigDict(toml_file=config)

    try:
        return WithFile(**_nested(given))
    except ValidationError as error:
        raise SettingsError(_sentence(error, config, given)) from None
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{config} is not TOML: {error}.") from None
    except UnicodeDecodeError:
        raise SettingsError(f"{config} is not UTF-8 text.") from None
    except OSError as error:
        raise SettingsError(f"The settings file {config} cannot be read: {error.strerror}.") from None


def known_keys() -> tuple[str, ...]:
    """Every key, dotted, in the order of the sample file."""
    return tuple(_keys(Settings, ""))


def _keys(model: type[BaseModel], prefix: str) -> Iterator[str]:
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from _keys(field.annotation, f"{prefix}{name}.")
        else:
            yield prefix + name


def _nested(dotted: Mapping[str, object]) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for key, value in dotted.items():
        table, _, name = key.rpartition(".")
        (tree.setdefault(table, {}) if table else tree)[name] = value
    return tree


def _variables() -> set[str]:
    return {ENV_PREFIX + key.replace(".", _NESTED).upper() for key in known_keys()}


class _Environment(EnvSettingsSource):
    """The environment without what only looks like settings."""

    def _load_env_vars(self) -> Mapping[str, str | None]:
        found = settings_of(os.environ, _variables())
        return {name.lower(): value for name, value in found.items()}


class _File(TomlConfigSettingsSource):
    """The settings file. One that is named has to be there; the library passes over what is no regular file."""

    def _read_files(self, files: Any, deep_merge: bool = False) -> dict[str, Any]:
        return {} if files is None else self._read_file(files)


def _sentence(error: ValidationError, config: Path | None, given: Mapping[str, object]) -> str:
    first = error.errors()[0]
    path = tuple(str(part) for part in first["loc"] if isinstance(part, str))
    if not path:
        return f"The settings do not fit together: {_reason(first)}."
    key = ".".join(path)
    variable = ENV_PREFIX + _NESTED.join(path).upper()
    environment = {name.upper() for name, value in os.environ.items() if not injected(name, value)}
    if key in given:
        where = "command line"
    elif variable in environment:
        where, key = "environment", variable
    else:
        where = "defaults" if config is None else str(config)
    if first["type"] == "extra_forbidden":
        return f"{where}: {key} is no setting of Parlour.{did_you_mean(key, set(known_keys()))}"
    if _is_secret(path):
        return f"{where}: {key} cannot be used: {_reason(first)}."
    return f"{where}: {key} is {first['input']!r}, but {_reason(first)}."


def _is_secret(path: tuple[str, ...]) -> bool:
    """Whether what stands there must not be shown."""
    model: Any = Settings
    for name in path:
        field = model.model_fields.get(name) if isinstance(model, type) and issubclass(model, BaseModel) else None
        if field is None:
            return False
        if not field.repr:
            return True
        model = field.annotation
    return False


_REASONS = {
    "bool_parsing": "it has to be true or false",
    "float_parsing": "it has to be a number",
    "float_type": "it has to be a number",
    "int_from_float": "it has to be a whole number",
    "int_parsing": "it has to be a whole number",
    "int_type": "it has to be a whole number",
    "ip_any_address": "it has to be an IPv4 or IPv6 address",
    "model_type": "it has to be a table of settings",
    "path_type": "it has to be the path of a file or folder",
    "string_too_short": "it must not be empty",
    "string_type": "it has to be a text",
    "tuple_type": "it has to be a list",
}


def _reason(error: Any) -> str:
    if error["type"] in _REASONS:
        return _REASONS[error["type"]]
    text = str(error["msg"]).removeprefix("Value error, ").removeprefix("Input ")
    return "it " + text if text.startswith("should") else text[:1].lower() + text[1:]
