"""Traces of joins for OpenTelemetry: from the first login on a socket to the first media of either direction.

The spans are ``join`` with ``login`` and ``enter`` in it, and ``publish connected`` and ``subscribe connected`` as what
followed: how long the first of each took from the request to the end of the DTLS handshake. This module is imported
only when traces are switched on.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any
from weakref import WeakKeyDictionary, WeakSet

from opentelemetry.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import Span, Status, StatusCode, Tracer, set_span_in_context

from parlour.accounts import AccountRefusedError
from parlour.errors import RtcError
from parlour.signaling.channel import Channel
from parlour.signaling.session import Session
from parlour.signaling.traces import Traces

FOLLOWED = {"login", "enter"}

MOST_OPEN = 10_000
"""Spans that wait for a transport; what is beyond is not followed."""


def exporting_provider(version: str) -> TracerProvider:
    """A provider that sends to where the variables ``OTEL_EXPORTER_OTLP_…`` say, from a bounded queue."""
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    resource = Resource.create({"service.name": "parlour", "service.version": version})
    provider = TracerProvider(resource=resource)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return provider


class JoinTraces(Traces):
    """``watch`` lets the media core tell of its transports."""

    def __init__(self, tracer: Tracer) -> None:
        self._tracer = tracer
        self._joins: WeakKeyDictionary[Channel, Span] = WeakKeyDictionary()
        self._joined: WeakKeyDictionary[Session, Context] = WeakKeyDictionary()
        self._published: WeakSet[Session] = WeakSet()
        self._subscribed: WeakSet[Session] = WeakSet()
        self._open: dict[int, Span] = {}

    @contextlib.contextmanager
    def _followed(self, channel: Channel, kind: str) -> Iterator[None]:
        join = self._joins.get(channel)
        if join is None:
            join = self._joins[channel] = self._tracer.start_span("join", context=Context())
        span = self._tracer.start_span(kind, context=set_span_in_context(join, Context()))
        try:
            yield
        except (RtcError, AccountRefusedError) as refused:
            self._refuse(span, refused)
            self._refuse(join, refused)
            self._joins.pop(channel, None)
            join.end()
            raise
        finally:
            if channel.login is not None:
                for one in (span, join):
                    one.set_attributes(
                        {
                            "parlour.app": channel.login.identity.sdk_app_id,
                            "parlour.user": channel.login.identity.user_id,
                        }
                    )
            span.end()
        if kind == "enter" and channel.session is not None:
            join.set_attribute("parlour.room", str(channel.session.room.room.room_id))
            join.set_attribute("parlour.session", channel.session.id)
            self._joined[channel.session] = set_span_in_context(join, Context())
            self._joins.pop(channel, None)
            join.end()

    def request(self, channel: Channel, kind: str) -> contextlib.AbstractContextManager[None]:
        """A login and an entering are steps of a join."""
        return self._followed(channel, kind) if kind in FOLLOWED else contextlib.nullcontext()

    def publishing(self, session: Session) -> None:
        """The first time is followed."""
        self._follow(session, self._published, "publish connected", session.uplink.transport_id)

    def subscribing(self, session: Session) -> None:
        """The same."""
        self._follow(session, self._subscribed, "subscribe connected", session.downlink.transport_id)

    def closed(self, channel: Channel) -> None:
        """A join that did not come to its end."""
        join = self._joins.pop(channel, None)
        if join is not None:
            join.set_status(Status(StatusCode.ERROR, "the socket closed before a room was entered"))
            join.end()

    def watch(self, transport: int, closed: str | None) -> None:
        """A transport is connected, or closed for that reason."""
        span = self._open.pop(transport, None)
        if span is None:
            return
        if closed is not None:
            span.set_status(Status(StatusCode.ERROR, closed))
        span.end()

    def _follow(self, session: Session, known: Any, name: str, transport: int | None) -> None:
        context = self._joined.get(session)
        if context is None or transport is None or session in known or len(self._open) >= MOST_OPEN:
            return
        known.add(session)
        self._open[transport] = self._tracer.start_span(
            name, context=context, attributes={"parlour.session": session.id, "parlour.user": session.user_id}
        )

    def _refuse(self, span: Span, refused: RtcError | AccountRefusedError) -> None:
        code = int(refused.code)
        span.set_attribute("parlour.code", code)
        if isinstance(refused, RtcError) and refused.extra_code:
            span.set_attribute("parlour.extra_code", refused.extra_code)
        span.set_status(Status(StatusCode.ERROR, str(code)))
