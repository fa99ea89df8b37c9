"""A third party on loopback: an HTTPS server that answers as a test says, also badly, and an OIDC issuer on it."""

from __future__ import annotations

import asyncio
import datetime
import ipaddress
import json
import ssl
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import jwt
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.x509.oid import NameOID

DAY = datetime.timedelta(days=1)


class Authority:
    """A certificate authority of the test's own; ``file`` is what trusts it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.file = folder / "authority.pem"
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Test authority")])
        certificate = (
            self._builder(self._name, self._key, days=(-1, 30))
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(self._key.public_key()), critical=False)
            .add_extension(_usage(key_cert_sign=True), critical=True)
            .sign(self._key, hashes.SHA256())
        )
        self.file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))

    def files(self, *names: str, days: tuple[int, int] = (-1, 30)) -> tuple[Path, Path]:
        """Certificate and key for these names and addresses, valid between those days from now."""
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = (
            self._builder(x509.Name([]), key, days)
            .add_extension(x509.SubjectAlternativeName([_general_name(name) for name in names]), critical=True)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        serial = f"{certificate.serial_number:x}"
        certificate_file, key_file = self.folder / f"{serial}.pem", self.folder / f"{serial}.key"
        certificate_file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        key_file.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        return certificate_file, key_file

    def context(self, *names: str, days: tuple[int, int] = (-1, 30)) -> ssl.SSLContext:
        """What a server with such a certificate listens with."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*self.files(*names, days=days))
        return context

    def _builder(
        self, subject: x509.Name, key: EllipticCurvePrivateKey, days: tuple[int, int]
    ) -> x509.CertificateBuilder:
        now = datetime.datetime.now(datetime.UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now + days[0] * DAY)
            .not_valid_after(now + days[1] * DAY)
        )


def _usage(**used: bool) -> x509.KeyUsage:
    names = (
        "digital_signature content_commitment key_encipherment data_encipherment key_agreement key_cert_sign crl_sign"
        " encipher_only decipher_only"
    )
    return x509.KeyUsage(**{name: used.get(name, False) for name in names.split()})


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


@dataclass(frozen=True)
class Request:
    """One request as it came in; the names of headers in lower case."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def members(self) -> dict[str, Any]:
        """The JSON object in the body."""
        members: dict[str, Any] = json.loads(self.body)
        return members


Answer = Callable[[Request, asyncio.StreamWriter], Awaitable[None]]


def head(status: int = 200, **headers: object) -> bytes:
    """The beginning of an answer, written by hand; ``_`` in a header's name stands for ``-``."""
    lines = [f"HTTP/1.1 {status} Whatever", *(f"{name.replace('_', '-')}: {value}" for name, value in headers.items())]
    return "".join(f"{line}\r\n" for line in [*lines, ""]).encode()


def reply(content: object, status: int = 200, **headers: object) -> Answer:
    """Answer always the same: bytes as they are, anything else as JSON."""
    body = content if isinstance(content, bytes) else json.dumps(content).encode()

    async def answer(_: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(head(status, Content_Length=len(body), **headers) + body)

    return answer


class HttpsPeer:
    """A server on a free port of loopback. ``answer`` may be changed at any time."""

    def __init__(self, context: ssl.SSLContext | None, answer: Answer, address: str = "127.0.0.1") -> None:
        self.answer = answer
        self.address = address
        self.requests: list[Request] = []
        self.connections = 0
        self.names: list[str | None] = []
        self._context = context
        self._tasks: set[asyncio.Task[Any]] = set()
        if context is not None:
            context.sni_callback = lambda _socket, name, _context: self.names.append(name)

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, self.address, 0, ssl=self._context)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def url(self, path: str = "/check", host: str = "localhost") -> str:
        return f"https://{host}:{self.port}{path}"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        self.connections += 1
        try:
            while not writer.is_closing():
                request = await _read(reader)
                self.requests.append(request)
                await self.answer(request, writer)
                await writer.drain()
        except (EOFError, OSError, asyncio.CancelledError):
            pass  # the other end, or the test, has had enough
        finally:
            writer.close()


async def _read(reader: asyncio.StreamReader) -> Request:
    first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")[:-2]
    method, path, _ = first.split(" ")
    headers = {name.lower(): value.strip() for name, value in (line.split(":", 1) for line in lines)}
    return Request(method, path, headers, await reader.readexactly(int(headers.get("content-length", 0))))


PrivateKey = RSAPrivateKey | EllipticCurvePrivateKey | Ed25519PrivateKey

_CURVES: dict[str, ec.EllipticCurve] = {"ES256": ec.SECP256R1(), "ES384": ec.SECP384R1(), "ES512": ec.SECP521R1()}


def private_key(algorithm: str, rsa_bits: int = 2048) -> PrivateKey:
    """A new key that signs with this algorithm."""
    if algorithm == "EdDSA":
        return Ed25519PrivateKey.generate()
    if algorithm in _CURVES:
        return ec.generate_private_key(_CURVES[algorithm])
    return rsa.generate_private_key(65537, rsa_bits)


def public_jwk(algorithm: str, key: PrivateKey, **members: object) -> dict[str, object]:
    """The public half as an issuer publishes it."""
    jwk = jwt.get_algorithm_by_name(algorithm).to_jwk(key.public_key(), as_dict=True)
    jwk.pop("key_ops", None)
    return jwk | {"alg": algorithm, "use": "sig"} | members


@dataclass
class Issuer:
    """An OpenID Connect issuer. ``keys`` maps a key's name to its algorithm and private key."""

    peer: HttpsPeer
    keys: dict[str, tuple[str, PrivateKey]] = field(default_factory=dict)
    configuration: dict[str, object] = field(default_factory=dict)
    extra_jwks: list[object] = field(default_factory=list)
    asked: Counter[str] = field(default_factory=Counter)
    hold: asyncio.Event | None = None

    def __post_init__(self) -> None:
        self.peer.answer = self._answer

    @property
    def url(self) -> str:
        return self.peer.url("")

    def add_key(self, kid: str, algorithm: str = "ES256") -> None:
        self.keys[kid] = algorithm, private_key(algorithm)

    def token(self, claims: dict[str, Any], kid: str = "first", **headers: Any) -> str:
        """An ID token with exactly these claims, signed with that key."""
        algorithm, key = self.keys[kid]
        payload = json.dumps(claims).encode()
        return jwt.PyJWS().encode(payload, key, algorithm, headers={"kid": kid} | headers)

    async def _answer(self, request: Request, writer: asyncio.StreamWriter) -> None:
        self.asked[request.path] += 1
        if self.hold is not None:
            await self.hold.wait()
        content: object
        match request.path:
            case "/.well-known/openid-configuration":
                content = {"issuer": self.url, "jwks_uri": self.peer.url("/keys")} | self.configuration
            case "/keys":
                published = [public_jwk(algorithm, key, kid=kid) for kid, (algorithm, key) in self.keys.items()]
                content = {"keys": [*published, *self.extra_jwks]}
            case _:
                return await reply({}, 404)(request, writer)
        return await reply(content)(request, writer)
