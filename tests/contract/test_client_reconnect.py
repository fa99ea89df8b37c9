"""The Python SDK through every loss, against a real server whose process is stopped and killed, whose path is cut."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import itertools
import os
import resource
import signal
from typing import TYPE_CHECKING

import pytest
from parlour.client import Client, LocalStream, RemoteStream, RtcError, channel, reconciler
from parlour.client.events import (
    ClientEvent,
    ConnectionChanged,
    Failed,
    PeerLeave,
    StreamAdded,
    StreamRemoved,
)
from parlour.errors import ErrorCode
from parlour.protocol import messages as m

from tests.peers.relay import Relay
from tests.peers.server_process import ServerProcess
from tests.wire import join, offer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from pathlib import Path

    from tests.conftest import RunningServer, StartServer

KEYFRAME = b"\x10\x02\x00\x9d\x01\x2a\x80\x02\x68\x01" + bytes(500)
RECONNECTING, CONNECTED = ConnectionChanged("reconnecting"), ConnectionChanged("connected")


@pytest.fixture
async def process(tmp_path: Path) -> AsyncIterator[ServerProcess]:
    process = ServerProcess(tmp_path / "data", SIGNALING__HEARTBEAT_INTERVAL=1)
    await process.start()
    yield process
    await process.stop()


@pytest.fixture
async def relay(server: RunningServer) -> AsyncIterator[Relay]:
    """The signaling of ``server`` by way of a relay; media goes straight."""
    async with Relay(server.port) as relay:
        yield relay


def client(server: RunningServer | ServerProcess, user_id: str, url: str = "") -> Client:
    return Client(url or server.url, server.app, user_id, server.user_sig(user_id))


async def until(someone: Client, matches: Callable[[ClientEvent], bool], seconds: float = 30) -> list[ClientEvent]:
    """The events up to the first that matches."""
    seen = []
    async with asyncio.timeout(seconds):
        async for event in someone.events():
            seen.append(event)
            if matches(event):
                return seen
    raise AssertionError(f"it did not come: {seen}")


async def film(stream: LocalStream) -> None:
    """Send pictures until cancelled."""
    for number in itertools.count():
        stream.write_video(KEYFRAME, number * 3000)
        await asyncio.sleep(0.03)


async def next_picture(stream: RemoteStream) -> None:
    """Wait for a picture that was sent from now on."""
    async with asyncio.timeout(30):
        video = stream.video()
        async for frame in video:
            assert frame.data == KEYFRAME
            return
    raise AssertionError("the stream ended")


def failures(*clients: Client) -> list[str]:
    return [event.error.message for one in clients for event in one._events if isinstance(event, Failed)]


class Pair:
    """Ann films, ben watches."""

    def __init__(self, ann: Client, ben: Client, sent: LocalStream, received: RemoteStream) -> None:
        self.ann, self.ben, self.sent, self.received = ann, ben, sent, received
        self._filming = asyncio.create_task(film(sent))

    @classmethod
    async def joined(cls, ann: Client, ben: Client) -> Pair:
        await ann.join(1)
        await ben.join(1)
        sent = await ann.publish(audio=False)
        await until(ben, lambda event: isinstance(event, StreamAdded))
        pair = cls(ann, ben, sent, await ben.subscribe("ann", audio=False))
        await next_picture(pair.received)
        return pair

    async def flows(self) -> None:
        """Wait for pictures that are sent now: those that waited for their reader are taken first."""
        while self.received._queues["video"]._frames:
            await next_picture(self.received)
        await next_picture(self.received)

    async def close(self) -> None:
        self._filming.cancel()
        await self.ann.leave()
        await self.ben.leave()


async def test_after_kill_9_everybody_is_back_with_what_was_published_and_subscribed(process: ServerProcess) -> None:
    pair = await Pair.joined(client(process, "ann"), client(process, "ben"))
    ann, ben = pair.ann, pair.ben
    await process.kill()
    assert (await until(ben, lambda event: event == RECONNECTING))[-1] == RECONNECTING
    await process.start()
    events = await until(ben, lambda event: event == CONNECTED, 10)
    assert any(isinstance(event, StreamRemoved) for event in events), "the difference is told as events"
    async with asyncio.timeout(20):
        while ("ann", "main") not in ben.room.streams:
            await until(ben, lambda event: isinstance(event, StreamAdded))
    await pair.flows()
    assert ann.joined
    assert ben.joined
    assert list(ben.room.members) == ["ann"]
    assert failures(ann, ben) == []
    await pair.close()


async def test_a_server_that_stands_still_for_25_seconds_loses_nobody(process: ServerProcess) -> None:
    pair = await Pair.joined(client(process, "ann"), client(process, "ben"))
    watcher, _ = await join(process, "watcher")  # type: ignore[arg-type]
    process.signal(signal.SIGSTOP)
    await asyncio.sleep(25)  # what is tested is that it takes so long
    process.signal(signal.SIGCONT)
    for one in (pair.ann, pair.ben):
        events = await until(one, lambda event: event == CONNECTED)
        assert not [event for event in events if isinstance(event, PeerLeave | StreamRemoved | Failed)]
    await pair.flows()
    seen = [watcher.events.get_nowait()["type"] for _ in range(watcher.events.qsize())]
    assert "peer-leave" not in seen, "closing a silent socket is not leaving"
    assert failures(pair.ann, pair.ben) == []
    await pair.close()


async def test_what_is_given_up_while_the_socket_is_down_is_given_up_at_the_server(
    server: RunningServer, relay: Relay
) -> None:
    pair = await Pair.joined(client(server, "ann", relay.url), client(server, "ben", relay.url))
    witness, entered = await join(server, "witness")
    assert [stream["userId"] for stream in entered["snapshot"]["streams"]] == ["ann"]
    await relay.cut()
    for one in (pair.ann, pair.ben):
        await until(one, lambda event: event == RECONNECTING)
    await pair.ben.unsubscribe("ann")
    await pair.ann.unpublish(pair.sent)
    assert await witness.quiet()
    await relay.heal()
    assert (await witness.event())["type"] == "stream-removed"
    async with asyncio.timeout(10):
        async for frame in pair.received.video():  # what had come before; then its readers end
            assert frame.data == KEYFRAME
    sent = await pair.ann.publish(audio=False)
    assert (await witness.event())["stream"]["streamId"] == sent.stream_id
    await pair.close()


async def test_leaving_while_the_socket_is_down_is_told_to_the_server_when_it_can_be_reached(
    server: RunningServer, relay: Relay
) -> None:
    ann = client(server, "ann", relay.url)
    await ann.join(1)
    witness, entered = await join(server, "witness")
    assert [member["userId"] for member in entered["snapshot"]["members"]] == ["ann"]
    await relay.cut()
    await until(ann, lambda event: event == RECONNECTING)
    assert await witness.quiet()
    await relay.heal()
    await ann.leave()
    assert (await witness.event())["type"] == "peer-leave"


async def test_leaving_returns_soon_when_the_server_cannot_be_reached(server: RunningServer, relay: Relay) -> None:
    ann = client(server, "ann", relay.url)
    await ann.join(1)
    await relay.cut()
    await until(ann, lambda event: event == RECONNECTING)
    async with asyncio.timeout(30):
        await ann.leave()
    assert not ann.joined


async def test_leaving_twice_at_the_same_time_leaves_and_raises_nothing(server: RunningServer) -> None:
    ann = client(server, "ann")
    await ann.join(1)
    witness, _ = await join(server, "witness")
    await asyncio.gather(ann.leave(), ann.leave(), ann.leave())
    assert (await witness.event())["type"] == "peer-leave"
    await ann.join(1)
    assert (await witness.event())["type"] == "peer-join"
    first, between, second, last = await asyncio.gather(
        ann.leave(), ann.join(1), ann.leave(), ann.join(1), return_exceptions=True
    )
    assert (first, second, last) == (None, None, None)
    assert isinstance(between, RtcError), "the second leave gives it up"
    assert ann.joined
    await ann.leave()


async def test_a_leave_whose_caller_loses_patience_leaves_all_the_same(
    server: RunningServer,
) -> None:
    ann = client(server, "ann")
    await ann.join(1)
    await ann.publish(audio=True, video=None)
    witness, _ = await join(server, "witness")
    leaving = asyncio.create_task(ann.leave())
    while ann._channel is not None:
        assert not leaving.done(), "it is under way"
        await asyncio.sleep(0)
    leaving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaving
    assert not ann.joined
    assert [(await witness.event())["type"] for _ in range(2)] == ["stream-removed", "peer-leave"]


async def test_what_nobody_waits_for_any_more_is_not_complained_about(process: ServerProcess) -> None:
    complaints: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
    asking = channel.Channel(lambda _: None, lambda code, reason: None)
    await asking.open(process.url)
    socket = asking._socket
    assert socket is not None
    reader, asking._reader = asking._reader, None
    # The loss is seen while the request is on its way out: what it was to wait for fails, and so does the sending.
    sending = socket.send

    async def lost_while_sending(*arguments: object, **options: object) -> None:
        await process.kill()
        await socket.wait_closed()
        assert reader is not None
        await reader
        await sending(*arguments, **options)  # type: ignore[arg-type]

    socket.send = lost_while_sending  # type: ignore[method-assign, assignment]
    with pytest.raises(channel.ChannelLostError):
        await asking.request(m.Ping(id=0), m.Empty)
    del asking
    gc.collect()
    await asyncio.sleep(0)
    assert complaints == []


async def test_what_is_published_and_subscribed_while_the_socket_is_down_waits_for_it(
    server: RunningServer, relay: Relay
) -> None:
    ann, ben = client(server, "ann"), client(server, "ben", relay.url)
    await ann.join(1)
    await ben.join(1)
    sent = await ann.publish(audio=False)
    await until(ben, lambda event: isinstance(event, StreamAdded))
    await relay.cut()
    await until(ben, lambda event: event == RECONNECTING)
    subscribing = asyncio.create_task(ben.subscribe("ann"))
    publishing = asyncio.create_task(ben.publish(audio=True, video=None))
    await relay.heal()
    filming = asyncio.create_task(film(sent))
    await next_picture(await subscribing)
    assert (await publishing).stream_id
    filming.cancel()
    await ann.leave()
    await ben.leave()


async def test_media_that_fails_while_signaling_is_down_costs_no_attempt_and_comes_back(
    server: RunningServer, relay: Relay, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reconciler, "MEDIA_RESTARTS", 1)
    pair = await Pair.joined(client(server, "ann", relay.url), client(server, "ben", relay.url))
    await relay.cut()
    for one in (pair.ann, pair.ben):
        await until(one, lambda event: event == RECONNECTING)
    for side in (pair.ann._uplink, pair.ben._downlink):
        for _ in range(3):  # more often than there are attempts
            side._connection_failed("the test pulled the cable", False)
    await relay.heal()
    for one in (pair.ann, pair.ben):
        await until(one, lambda event: event == CONNECTED)
    await pair.flows()
    assert failures(pair.ann, pair.ben) == []
    await pair.close()


async def test_without_udp_publish_and_subscribe_reject_in_ten_seconds_with_0x4003(start_server: StartServer) -> None:
    # Nobody listens at the address that clients are told, so that no check is answered.
    server = await start_server(media__announce="127.0.0.77")
    witness, _ = await join(server, "witness")
    await witness.ask("publish", sdp=offer(), audioMid="0", videoMid="1")
    async with client(server, "ann") as ann, asyncio.timeout(40):
        await ann.join(1)
        for attempt in (ann.publish(), ann.subscribe("witness")):
            with pytest.raises(RtcError, match="UDP") as refused:
                await attempt
            assert refused.value.code == ErrorCode.ICE_TRANSPORT_ERROR
        types = [(await witness.event())["type"] for _ in range(3)]
        assert types == ["peer-join", "stream-added", "stream-removed"], "what did not connect is not published"
        assert not ann._uplink.streams
        assert not ann._downlink.streams


@contextlib.contextmanager
def no_descriptors_left() -> Iterator[None]:
    """This process can open nothing more."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(map(int, os.listdir("/proc/self/fd"))) + 1, before[1]))
    taken = []
    try:
        with contextlib.suppress(OSError):
            while True:
                taken.append(os.dup(0))
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
        for descriptor in taken:
            os.close(descriptor)


async def test_a_link_that_cannot_be_made_is_refused_at_once_with_the_reason_and_made_when_it_can_be(
    process: ServerProcess,
) -> None:
    ann, ben = client(process, "ann"), client(process, "ben")
    await ann.join(1)
    await ben.join(1)
    with pytest.raises(RtcError, match="'av1'") as refused:
        await ann.publish(video="av1")  # type: ignore[arg-type]
    assert refused.value.code == ErrorCode.INVALID_PARAMETER
    with no_descriptors_left(), pytest.raises(RtcError, match=r"cannot be set up: .*open files") as refused:
        await ann.publish()
    assert refused.value.code == ErrorCode.ICE_TRANSPORT_ERROR
    sent = await ann.publish(audio=False)
    filming = asyncio.create_task(film(sent))
    await until(ben, lambda event: isinstance(event, StreamAdded))
    with no_descriptors_left():
        subscribing = asyncio.create_task(ben.subscribe("ann", audio=False))
        while not ben._downlink._attempts:
            assert not subscribing.done()
            await asyncio.sleep(0.02)
    await next_picture(await subscribing)
    filming.cancel()
    assert failures(ann, ben) == []
    await ann.leave()
    await ben.leave()


async def test_join_leave_join_ends_in_the_room_and_publish_is_decided_when_its_turn_comes(
    server: RunningServer,
) -> None:
    ann = client(server, "ann")
    first, left, second, published = await asyncio.gather(
        ann.join(1), ann.leave(), ann.join(2), ann.publish(), return_exceptions=True
    )
    assert isinstance(first, RtcError)
    assert first.code == ErrorCode.INVALID_OPERATION
    assert (left, second) == (None, None)
    assert isinstance(published, LocalStream)
    assert ann.joined
    watcher, entered = await join(server, "watcher", 2)
    assert entered["snapshot"]["members"] == [{"userId": "ann"}]
    publishing = asyncio.create_task(ann.publish(stream_type="auxiliary"))
    await asyncio.sleep(0)
    await ann.leave()
    with pytest.raises(RtcError, match="left the room before") as refused:
        await publishing
    assert refused.value.code == ErrorCode.INVALID_OPERATION
    await watcher.close()


async def test_after_0x4007_and_0x4008_one_publishes_and_subscribes_again(
    server: RunningServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair = await Pair.joined(client(server, "ann"), client(server, "ben"))
    monkeypatch.setattr(reconciler, "MEDIA_RESTARTS", 0)
    for side, one, code in (
        (pair.ben._downlink, pair.ben, ErrorCode.DOWNLINK_RECONNECTION_FAILED),
        (pair.ann._uplink, pair.ann, ErrorCode.UPLINK_RECONNECTION_FAILED),
    ):
        assert side._connection is not None
        side._connection.fail("the test pulled the cable")
        failed = (await until(one, lambda event: isinstance(event, Failed)))[-1]
        assert isinstance(failed, Failed)
        assert failed.error.code == code
    await until(pair.ben, lambda event: isinstance(event, StreamRemoved))
    sent = await pair.ann.publish(audio=False)
    await until(pair.ben, lambda event: isinstance(event, StreamAdded))
    filming = asyncio.create_task(film(sent))
    await next_picture(await pair.ben.subscribe("ann", audio=False))
    filming.cancel()
    await pair.close()


async def test_what_dies_in_the_background_is_told_and_the_rest_goes_on(
    server: RunningServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair = await Pair.joined(client(server, "ann"), client(server, "ben"))
    step = pair.ben._downlink.step

    async def faulty() -> float | None:
        monkeypatch.setattr(pair.ben._downlink, "step", step)
        raise ZeroDivisionError("a fault")

    monkeypatch.setattr(pair.ben._downlink, "step", faulty)
    pair.ben._downlink.wake()
    failed = (await until(pair.ben, lambda event: isinstance(event, Failed)))[-1]
    assert isinstance(failed, Failed)
    assert (failed.error.code, "ZeroDivisionError: a fault" in failed.error.message) == (ErrorCode.UNKNOWN, True)
    await pair.ben.unsubscribe("ann")
    await next_picture(await pair.ben.subscribe("ann", audio=False))
    pair.sent.on_keyframe_request = lambda: 1 // 0  # type: ignore[assignment]
    pair.received = await pair.ben.subscribe("ann", audio=False)
    pair.received.request_keyframe()
    await pair.flows()
    await pair.close()


async def test_a_silent_server_is_given_up_with_a_code_that_is_not_leaving(
    server: RunningServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The answer to a ping does not come in time: the socket is closed with 4408, and the session goes on."""
    watcher, _ = await join(server, "watcher")
    ann = client(server, "ann")
    await ann.join(1)
    assert (await watcher.event())["type"] == "peer-join"
    assert ann._channel is not None
    assert m.ClientCloseCode.GIVEN_UP == 4408
    ann._channel.give_up("no answer")
    events = await until(ann, lambda event: event == CONNECTED)
    events += await until(ann, lambda event: event == CONNECTED)
    assert RECONNECTING in events
    assert await watcher.quiet(), "ann never left"
    await ann.leave()
    assert (await watcher.event())["type"] == "peer-leave"


async def test_a_track_that_cannot_be_decoded_rejects_with_its_code_and_the_other_one_is_received(
    server: RunningServer,
) -> None:
    ann, ben = client(server, "ann"), client(server, "ben")
    await ann.join(1)
    await ben.join(1)
    ben._downlink._open_connection = lambda codecs: ben._open_connection(["opus", "vp8"])
    sent = await ann.publish(audio=True, video="h264")
    await until(ben, lambda event: isinstance(event, StreamAdded))
    with pytest.raises(RtcError, match="H264, which cannot be decoded here") as refused:
        await ben.subscribe("ann")
    assert refused.value.code == ErrorCode.NOT_SUPPORTED_H264
    assert ben.room.streams["ann", "main"].video, "what is published stays told"
    heard = asyncio.ensure_future(anext(ben._downlink.streams["ann", "main"].audio()))
    for number in itertools.count():
        sent.write_audio(b"\xf8\xff\xfe", number * 960)
        await asyncio.wait({heard}, timeout=0.02)
        if heard.done():
            break
    assert heard.result().kind == "audio"
    await ann.unpublish(sent)
    await until(ben, lambda event: isinstance(event, StreamRemoved))
    sent = await ann.publish(audio=True, video="vp8")
    await until(ben, lambda event: isinstance(event, StreamAdded))
    filming = asyncio.create_task(film(sent))
    await next_picture(await ben.subscribe("ann"))
    filming.cancel()
    await ann.leave()
    await ben.leave()
