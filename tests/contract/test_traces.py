"""Traces of joins: what OpenTelemetry is told of a call, and that nothing of it is there unless it is switched on."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import pytest
from aiortc.mediastreams import AudioStreamTrack
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode
from parlour.client import Client
from parlour.metrics.traces import JoinTraces

from tests.peers.aiortc_peer import AiortcPeer
from tests.peers.server_process import ServerProcess
from tests.wire import Refused, Wire

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import RunningServer


class Told:
    """What the server tells."""

    def __init__(self, server: RunningServer) -> None:
        self.exporter = InMemorySpanExporter()
        provider = TracerProvider()
        provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        traces = JoinTraces(provider.get_tracer("parlour"))
        service = server._service
        assert service is not None
        service.traces, server.media.watch = traces, traces.watch

    def of(self, user: str) -> dict[str, ReadableSpan]:
        """A user's spans by their names."""
        spans = self.exporter.get_finished_spans()
        return {span.name: span for span in spans if (span.attributes or {}).get("parlour.user") == user}


async def test_a_join_is_one_trace_from_the_login_to_the_first_media_both_ways(server: RunningServer) -> None:
    told = Told(server)
    ann, bob = AiortcPeer(server.url), AiortcPeer(server.url)
    try:
        await ann.join(server.app, "ann", server.user_sig("ann"), 5)
        await bob.join(server.app, "bob", server.user_sig("bob"), 5)
        began = time.time_ns()
        await ann.publish(AudioStreamTrack())
        await bob.expect(lambda event: event["type"] == "stream-added")
        await bob.subscribe("ann")
        await (await bob.track("ann", "audio")).recv()
    finally:
        await bob.close()
        await ann.close()
    spans = told.of("ann")
    assert set(spans) == {"join", "login", "enter", "publish connected"}
    assert set(told.of("bob")) == {"join", "login", "enter", "subscribe connected"}
    join = spans["join"]
    assert join.attributes is not None
    assert join.attributes["parlour.room"] == "5"
    assert join.attributes["parlour.app"] == server.app
    for name in ("login", "enter", "publish connected"):
        assert spans[name].parent is not None
        assert spans[name].parent.span_id == join.context.span_id
        assert spans[name].context.trace_id == join.context.trace_id
        assert spans[name].status.status_code is not StatusCode.ERROR
    published = spans["publish connected"]
    assert began <= (published.start_time or 0) < (published.end_time or 0) <= time.time_ns()
    assert "sig" not in str([span.to_json() for span in told.exporter.get_finished_spans()]).lower()


async def test_a_refused_login_is_a_trace_with_its_codes(server: RunningServer) -> None:
    told = Told(server)
    wire = await Wire.open(server)
    with pytest.raises(Refused):
        await wire.ask("login", sdkAppId=server.app, userId="eve", userSig="wrong")
    await wire.close()
    join, login = sorted(told.exporter.get_finished_spans(), key=lambda span: span.name)
    assert (join.name, login.name) == ("join", "login")
    for span in (join, login):
        assert span.status.status_code is StatusCode.ERROR
        assert (span.attributes or {})["parlour.code"] in (0x4001, 70003)


class Collector(ThreadingHTTPServer):
    """Takes in what an exporter posts (OTLP over HTTP, in protobuf)."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, ExportTraceServiceRequest]] = []
        super().__init__(("127.0.0.1", 0), _Collects)

    def spans(self) -> dict[str, str]:
        """The names of all spans that came, each with its service's."""
        return {
            span.name: next(one.value.string_value for one in of.resource.attributes if one.key == "service.name")
            for _, request in self.requests
            for of in request.resource_spans
            for scope in of.scope_spans
            for span in scope.spans
        }


class _Collects(BaseHTTPRequestHandler):
    server: Collector

    def do_POST(self) -> None:
        """Read it as a collector does."""
        request = ExportTraceServiceRequest()
        request.ParseFromString(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.requests.append((self.path, request))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


async def test_a_served_server_sends_its_traces_where_the_variables_say(tmp_path: Path) -> None:
    collector = Collector()
    serving = asyncio.create_task(asyncio.to_thread(collector.serve_forever))
    address = f"http://127.0.0.1:{collector.server_address[1]}"
    process = ServerProcess(tmp_path / "data", METRICS__TRACES="true", others={"OTEL_EXPORTER_OTLP_ENDPOINT": address})
    try:
        await process.start()
        client = Client(process.url, process.app, "ann", process.user_sig("ann"))
        await client.join(1)
        await client.leave()
        # What is there when it stops is sent before.
        await process.stop()
        assert collector.spans() == dict.fromkeys(("join", "login", "enter"), "parlour")
        assert {path for path, _ in collector.requests} == {"/v1/traces"}
    finally:
        await process.stop()
        collector.shutdown()
        await serving
        collector.server_close()


def test_the_server_does_not_import_opentelemetry_unless_it_is_asked_to() -> None:
    script = "import sys, parlour.server; sys.exit(any(name.startswith('opentelemetry') for name in sys.modules))"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
