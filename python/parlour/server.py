"""The server: storage, accounts, media, rooms and signaling wired together behind one HTTP port."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import ipaddress
import math
import os
import socket
import ssl
from collections.abc import Awaitable, Callable, Iterator, Sequence
from functools import partial
from importlib import metadata
from pathlib import Path

import structlog
import uvicorn
from starlette.routing import BaseRoute

from parlour.account_system import AccountSystem, Stores
from parlour.accounts import PluginError
from parlour.doorkeeper import Doorkeeper, DoorLimits, Slot
from parlour.httpprotocol import HttpProtocol
from parlour.listener import Listener, descriptors_for_connections
from parlour.logs import WindowedLog
from parlour.media import MediaCore, TcpLimits
from parlour.media.addresses import AnnounceError, announced
from parlour.metrics.access import Gate
from parlour.metrics.collector import Collector
from parlour.metrics.health import LoopHealth
from parlour.metrics.routes import metrics_route
from parlour.protocol.messages import PROTOCOL_VERSION, SIGNALING_PATH
from parlour.rooms import RoomLimits
from parlour.settings import Settings
from parlour.signaling.connection import ConnectionLimits
from parlour.signaling.service import SignalingLimits, SignalingService
from parlour.signaling.wsprotocol import BoundedWebSocketProtocol
from parlour.storage import Storage, StorageError
from parlour.storage.folder_lock import sole_server
from parlour.storage.sqlite import make_folder
from parlour.supervisor import Supervisor, bounded
from parlour.tls import CertificateError, own_names, self_signed_context, server_context
from parlour.web import create_http_app
from parlour.work_queue import WorkQueue

log = structlog.get_logger(__name__)

GOODBYE_TIMEOUT = 3.0
"""Seconds that clients have to close after they were told that the server goes down."""

CLOSE_TIMEOUT = 3.0
STORES_TIMEOUT = 2.0
"""Seconds that the other parts have to close, each; what hangs is left behind."""

MOST_SHARDS = 64
"""Media shards that a server starts by itself; the settings may ask for more."""

BACKLOG = 1024

SEND_BUFFER = 256 * 1024
"""Bytes that the kernel keeps for a client that does not read; it would let that grow to megabytes each."""


RECEIVE_BUFFER = 64 * 1024
"""Bytes that the kernel takes from a client ahead of us, and so about what one read brings: hundreds of clients that
send as fast as they can cost that each."""


class StartError(Exception):
    """The server cannot start; the text is one sentence that says what to do."""


def version() -> str:
    """The version of the installed package."""
    try:
        return metadata.version("parlour")
    except metadata.PackageNotFoundError:
        return "0"


class Server:
    """A whole server in the running event loop: ``await start()``, then ``url``; ``await stop()`` ends it.

    ``routes`` are served beside its own, in front of them.
    """

    def __init__(self, settings: Settings, *, routes: Sequence[BaseRoute] = ()) -> None:
        self.settings = settings
        self._routes = tuple(routes)
        self._cleanup = contextlib.AsyncExitStack()
        self._port: int | None = None
        self._media: MediaCore | None = None
        self._stores: Stores | None = None
        self._service: SignalingService | None = None
        self._supervisor = Supervisor()
        self._accepting: Listener | None = None
        self._for_media = 0
        """Descriptors that connections for media may take."""
        self.failed = asyncio.Event()
        """Set when it cannot go on; ``failure`` is why, as one sentence. It is to be stopped then."""
        self.failure = ""

    @property
    def port(self) -> int:
        """The TCP port it listens on."""
        if self._port is None:
            raise RuntimeError("the server is not running")
        return self._port

    @property
    def url(self) -> str:
        """Where it is, for a browser on this machine: ``http://127.0.0.1:8080``."""
        secure = self.settings.tls_cert is not None or self.settings.tls_self_signed
        return f"{'https' if secure else 'http'}://{_reachable(self.settings.host)}:{self.port}"

    @property
    def signaling_url(self) -> str:
        """The signaling channel's address."""
        return f"{self.url.replace('http', 'ws', 1)}{SIGNALING_PATH}?v={PROTOCOL_VERSION}"

    @property
    def media(self) -> MediaCore:
        """The media core."""
        if self._media is None:
            raise RuntimeError("the server is not running")
        return self._media

    @property
    def storage(self) -> Storage:
        """The account store."""
        return self.stores.accounts

    @property
    def stores(self) -> Stores:
        """The three stores."""
        if self._stores is None:
            raise RuntimeError("the server is not running")
        return self._stores

    async def start(self) -> None:
        """Start everything. Raises StartError, and leaves nothing behind then."""
        try:
            await self._start()
        except BaseException:
            await self._cleanup.aclose()
            raise

    def _fail(self, sentence: str) -> None:
        if not self.failure:
            log.critical("the server cannot go on", why=sentence)
            self.failure = sentence
            self.failed.set()

    async def stop(self) -> None:
        """Tell clients, then close everything. Idempotent."""
        await self._cleanup.aclose()

    async def __aenter__(self) -> Server:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def _start(self) -> None:
        settings = self.settings
        address = await _resolve(settings.host)
        context = self._tls(address)
        try:
            make_folder(settings.data)
            self._cleanup.enter_context(sole_server(settings.data))
        except StorageError as error:
            raise StartError(str(error)) from None
        listener = self._cleanup.enter_context(_listen(address, settings.host, settings.port))
        try:
            stores = await Stores.open(settings)
            self._on_stop("the stores", stores.close, STORES_TIMEOUT)
        except StorageError as error:
            raise StartError(str(error)) from None
        tcp = self._tcp_limits()
        media = MediaCore(
            bind=address,
            port=settings.media_port,
            shards=_shards(settings),
            announce=settings.media.announce,
            max_transports=settings.media.max_transports,
            ingress_bitrate=settings.media.ingress_bitrate,
            ingress_burst=settings.media.ingress_burst,
            padding=settings.media.padding,
            adapt=settings.media.adapt,
            segmentation=settings.media.segmentation,
            tcp=tcp,
            tell=WindowedLog(),
            on_failed=self._fail,
        )
        try:
            await media.start()
        except AnnounceError as error:
            raise StartError(str(error)) from None
        except ValueError as error:
            raise StartError(f"The media ports cannot be opened: {error}; change media_port or media.shards.") from None
        except OSError as error:
            raise StartError(_media_sentence(error, settings)) from None
        self._on_stop("the media core", media.close, CLOSE_TIMEOUT)
        try:
            system = AccountSystem(settings, stores)
            routes = system.routes()
        except (PluginError, ValueError) as error:
            raise StartError(str(error)) from None
        self._on_stop("the account system", system.close, CLOSE_TIMEOUT)
        service = SignalingService(system.accounts, media, _signaling_limits(settings), version())
        system.force_off = service.force_off
        self._on_stop("background work", self._supervisor.stop, CLOSE_TIMEOUT)
        self._supervisor.start("ending sessions whose time is over", service.reap)
        routes += self._numbers(media, service)
        await self._serve_http(service, [*self._routes, *routes], listener, context)
        self._on_stop("signaling", partial(service.stop, GOODBYE_TIMEOUT), GOODBYE_TIMEOUT + 1)
        self._port = listener.getsockname()[1]
        self._stores, self._media, self._service = stores, media, service
        log.info("started", url=self.url, media_ports=media.ports, announced=media.announced, version=version())

    def _numbers(self, media: MediaCore, service: SignalingService) -> list[BaseRoute]:
        """Begin to collect numbers; returns the route by which they are read."""
        settings = self.settings.metrics
        if settings.traces:
            self._trace(media, service)
        collector = Collector(media, service, rooms=settings.rooms, users=settings.users)
        self._supervisor.start("collecting the numbers of the media core", collector.run)
        if not settings.enabled:
            return []
        from parlour.metrics.exposition import Exposition, Sources

        loop = LoopHealth()
        self._supervisor.start("measuring the event loop", loop.run)
        sources = Sources(service, collector, loop, self._connections, version())
        return [metrics_route(Gate(settings.token, self.settings.trusted_proxies), Exposition(sources))]

    def _trace(self, media: MediaCore, service: SignalingService) -> None:
        try:
            from parlour.metrics.traces import JoinTraces, exporting_provider
        except ImportError:
            raise StartError("metrics.traces needs OpenTelemetry: pip install 'parlour[otel]'.") from None
        provider = exporting_provider(version())
        traces = JoinTraces(provider.get_tracer("parlour"))
        service.traces, media.watch = traces, traces.watch
        self._on_stop("traces", partial(asyncio.to_thread, provider.shutdown), CLOSE_TIMEOUT)

    def _connections(self) -> int:
        return 0 if self._accepting is None else self._accepting.connections

    async def _serve_http(
        self,
        service: SignalingService,
        routes: Sequence[BaseRoute],
        listener: socket.socket,
        context: ssl.SSLContext | None,
    ) -> None:
        limits = self.settings.limits
        supervisor = self._supervisor
        shared = WorkQueue()

        class Sockets(BoundedWebSocketProtocol):
            work_queue = shared
            control_rate = limits.messages_per_second
            control_burst = limits.message_burst

        config = uvicorn.Config(
            create_http_app(service, version(), routes=routes, failing=lambda: supervisor.failing),
            http=HttpProtocol,
            ws=Sockets,
            ws_max_size=limits.message_bytes,
            ws_per_message_deflate=False,
            # A page's timers may be throttled to one a minute; its browser answers pings all the same. Who answers
            # none is judged by the connection's own rules.
            ws_ping_interval=self.settings.signaling.heartbeat_interval,
            ws_ping_timeout=None,
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            # Else uvicorn believes whatever a client on this machine says about its address.
            proxy_headers=bool(self.settings.trusted_proxies),
            forwarded_allow_ips=list(self.settings.trusted_proxies),
            timeout_graceful_shutdown=2,
        )
        config.load()
        http = uvicorn.Server(config)
        http.lifespan = config.lifespan_class(config)
        await http.startup(sockets=[])
        supervisor.start("the HTTP server's clock", http.main_loop)
        tell = WindowedLog()

        class Requests(HttpProtocol):
            work_queue = shared
            request_timeout = limits.request_timeout
            # The account REST says in words that a body is late; what it does not see ends here.
            body_timeout = max(limits.request_timeout, self.settings.admin.body_timeout) + 1

        Requests.tell = staticmethod(tell)

        def protocol(slot: Slot) -> asyncio.Protocol:
            return Requests(config, http.server_state, http.lifespan.state, slot=slot)

        accepting = Listener(
            listener,
            Doorkeeper(self._door_limits()),
            protocol,
            tell,
            context=context,
            handshake_timeout=limits.request_timeout,
            uncounted=self.settings.trusted_proxies,
        )
        accepting.start()
        self._accepting = accepting

        async def stop() -> None:
            accepting.stop()
            await http.shutdown(sockets=[listener])

        self._on_stop("HTTP", stop, CLOSE_TIMEOUT)

    def _on_stop(self, what: str, end: Callable[[], Awaitable[object]], within: float) -> None:
        """Close this when the server stops, before what was there earlier, and wait for it only so long."""
        self._cleanup.push_async_callback(bounded, what, end, within)

    def _door_limits(self) -> DoorLimits:
        limits = self.settings.limits
        # What connections for media may take is not left for these.
        most = min(limits.connections, descriptors_for_connections() - self._for_media)
        if most < limits.connections:
            log.warning(
                "fewer connections than the settings allow: the limit of descriptors (ulimit -n) is lower",
                connections=most,
                wanted=limits.connections,
            )
        return DoorLimits(most, limits.connections_per_source, limits.strangers_per_source)

    def _tcp_limits(self) -> TcpLimits | None:
        media = self.settings.media
        if not media.tcp:
            return None
        # A quarter of the descriptors: signaling needs as many for the same users, and half is for whoever comes.
        shards = _shards(self.settings)
        most = min(media.tcp_connections, max(1, descriptors_for_connections() // (4 * shards)))
        if most < media.tcp_connections and "tcp_connections" in media.model_fields_set:
            log.warning(
                "fewer connections for media than the settings allow: the limit of descriptors (ulimit -n) is lower",
                connections=most,
                wanted=media.tcp_connections,
            )
        self._for_media = shards * most
        # No source may take it all, however few there are.
        per_source = min(media.tcp_connections_per_source, max(1, most // 2))
        return TcpLimits(most, per_source, min(media.tcp_strangers_per_source, max(1, most // 4)))

    def _tls(self, address: str) -> ssl.SSLContext | None:
        settings = self.settings
        try:
            if settings.tls_cert is not None and settings.tls_key is not None:
                return server_context(settings.tls_cert, settings.tls_key)
            if settings.tls_self_signed:
                told = announced(address, settings.media.announce)
                return self_signed_context(own_names(settings.host, told.addresses))
        except (CertificateError, AnnounceError) as error:
            raise StartError(str(error)) from None
        return None


def _signaling_limits(settings: Settings) -> SignalingLimits:
    limits, rooms = settings.limits, settings.rooms
    return SignalingLimits(
        ConnectionLimits(
            limits.message_bytes,
            limits.messages_per_second,
            limits.message_burst,
            limits.login_timeout,
            settings.signaling.socket_timeout,
        ),
        RoomLimits(rooms.max_members, rooms.max_audience, rooms.max_publishers, rooms.resume_timeout, rooms.last_n),
        limits.send_queue,
        settings.signaling.heartbeat_interval,
    )


def processors() -> int:
    """How many processors this process may use: of those of the machine, and of what its control group gives it."""
    mine = len(os.sched_getaffinity(0))
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        mine = min(mine, max(1, math.ceil(int(quota) / int(period))))
    except (OSError, ValueError):
        pass  # No bound, or a system that tells none.
    return min(mine, MOST_SHARDS)


async def _resolve(host: str) -> str:
    """The address of a host setting: itself, or what its name stands for here."""
    try:
        address = ipaddress.ip_address(host.removeprefix("[").removesuffix("]"))
    except ValueError:
        pass
    else:
        if isinstance(address, ipaddress.IPv6Address) and address.is_link_local:
            raise StartError(
                f"The host {host} is link-local, where clients find nobody without a zone; set another --host."
            )
        mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
        return str(mapped or address)
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError:
        raise StartError(f"The host {host} is no address and no name that this machine knows; set --host.") from None
    addresses = [str(entry[4][0]) for entry in found]
    return next((address for address in addresses if "." in address), addresses[0])


@contextlib.contextmanager
def _listen(address: str, host: str, port: int) -> Iterator[socket.socket]:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        listener = socket.create_server((address, port), family=family, backlog=BACKLOG, dualstack_ipv6=address == "::")
    except OSError as error:
        raise StartError(_bind_sentence(error, host, port, "TCP", "--port")) from None
    with listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)  # accepted sockets inherit it
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
        yield listener


def _shards(settings: Settings) -> int:
    return settings.media.shards or processors()


def _media_sentence(error: OSError, settings: Settings) -> str:
    """Which of the media ports it was: they follow one another."""
    port = int(str(error.filename or "").rpartition(":")[2] or settings.media_port)
    # The engine's own words begin with what it could not bind.
    protocol = "TCP" if "cannot bind TCP" in str(error) else "UDP"
    option = "--media-port" if protocol == "UDP" else "--media-port, or set media.tcp = false"
    sentence = _bind_sentence(error, settings.host, port, protocol, option)
    shards = _shards(settings)
    if shards == 1 or settings.media_port == 0:
        return sentence
    last = settings.media_port + shards - 1
    return f"{sentence} Media has a port for each of its {shards} shards, {settings.media_port} to {last}."


def _bind_sentence(error: OSError, host: str, port: int, protocol: str, option: str) -> str:
    subject = f"The {protocol} port {port} of {host}"
    match error.errno:
        case errno.EADDRINUSE:
            return f"{subject} is taken by another process; choose another with {option}."
        case errno.EACCES:
            return f"{subject} may not be opened by this user; choose one above 1023 with {option}."
        case errno.EADDRNOTAVAIL:
            return f"This machine has no address {host}; set --host to one that it has."
    return f"{subject} cannot be opened: {error.strerror or error}."


def _reachable(host: str) -> str:
    """A host as a URL of this machine has it."""
    if host in {"0.0.0.0", "::"}:  # noqa: S104 - compared, not bound
        return "127.0.0.1"
    with contextlib.suppress(ValueError):
        address = ipaddress.ip_address(host.removeprefix("[").removesuffix("]"))
        host = str((isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped) or address)
    return f"[{host}]" if ":" in host else host
