"""The Python SDK against a real server, over real sockets: two clients, one of them the robot."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from parlour.client import Client, RtcError
from parlour.client.card import NOTE_SECONDS, note_of, read_number
from parlour.client.codecs import AUDIO_CLOCK, PACKET_SAMPLES, Decoder
from parlour.client.events import (
    ClientBanned,
    ClientEvent,
    ConnectionChanged,
    Failed,
    MuteChanged,
    PeerJoin,
    PeerLeave,
    StreamAdded,
    StreamRemoved,
)
from parlour.client.robot import Robot
from parlour.errors import ErrorCode

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from parlour.client import RemoteStream

    from tests.conftest import RunningServer, StartServer

PAGE = Path(__file__).parents[2] / "docs" / "python-sdk.md"


def client(server: RunningServer, user_id: str) -> Client:
    return Client(server.url, server.app, user_id, server.user_sig(user_id))


@pytest.fixture
async def server(start_server: StartServer) -> RunningServer:
    """It sends everything as it comes: on a busy machine packets are late, and late is what a full path is by REMB."""
    return await start_server(media__adapt=False)


@pytest.fixture
async def robot(server: RunningServer) -> AsyncIterator[Robot]:
    """The robot in room 1."""
    problems: list[str] = []
    robot = Robot(client(server, "robot"), on_problem=problems.append)
    await robot.start(1)
    yield robot
    await robot.stop()
    assert not problems


async def until(someone: Client, matches: Callable[[ClientEvent], bool]) -> list[ClientEvent]:
    """The events up to the first that matches."""
    seen = []
    async with asyncio.timeout(15):
        async for event in someone.events():
            seen.append(event)
            if matches(event):
                return seen
    raise AssertionError(f"it did not come: {seen}")


async def numbers_of(stream: RemoteStream, count: int) -> list[int]:
    """The numbers of the next pictures of a card."""
    decoder, numbers = Decoder("vp8"), []
    async for frame in stream.video():
        numbers += [read_number(picture) for picture in decoder.pictures(frame)]
        if len(numbers) >= count:
            break
    return numbers


async def sound_of(stream: RemoteStream, seconds: float) -> np.ndarray:
    """The next sound, without gaps."""
    decoder, parts, last = Decoder("opus"), [], None
    async for frame in stream.audio():
        assert last is None or frame.timestamp - last == PACKET_SAMPLES
        last = frame.timestamp
        parts.append(decoder.sound(frame)[0])
        if len(parts) * PACKET_SAMPLES >= seconds * AUDIO_CLOCK:
            break
    return np.concatenate(parts)


def notes_in(sound: np.ndarray) -> list[float]:
    """The notes of the melody in a sound, each with the position of its beginning in seconds."""
    level = np.abs(sound).reshape(-1, 480).max(axis=1) > 0.05
    starts = [place for place in range(10, level.size) if level[place] and not level[place - 10 : place].any()]
    notes = []
    for start in starts:
        note = sound[start * 480 :][: int(NOTE_SECONDS * AUDIO_CLOCK)]
        if note.size == int(NOTE_SECONDS * AUDIO_CLOCK):
            strongest = np.argmax(np.abs(np.fft.rfft(note * np.hanning(note.size)))) * AUDIO_CLOCK / note.size
            notes.append(min((note_of(second) for second in range(8)), key=lambda pitch: abs(pitch - strongest)))
            assert abs(notes[-1] - strongest) < 6
    return notes


async def test_the_robot_is_seen_and_heard(server: RunningServer, robot: Robot) -> None:
    async with client(server, "ann") as ann, asyncio.timeout(40):
        await ann.join(1)
        events = await until(ann, lambda event: isinstance(event, StreamAdded))
        assert events[1:] == [PeerJoin(user_id="robot"), StreamAdded(stream=ann.room.streams["robot", "main"])]
        stream = await ann.subscribe("robot")
        listening = asyncio.create_task(sound_of(stream, 4))
        numbers = await numbers_of(stream, 50)
        assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
        notes = notes_in(await listening)
        assert len(notes) >= 2
        walk = [note_of(second) for second in range(16)]
        assert any(walk[place : place + len(notes)] == notes for place in range(8))


async def test_who_comes_later_and_who_returns_sees_at_once(server: RunningServer, robot: Robot) -> None:
    for _ in range(2):
        async with client(server, "ann") as ann, asyncio.timeout(30):
            await ann.join(1)
            for audio in (True, False, True, False):
                stream = await ann.subscribe("robot", audio=audio)
                numbers = await numbers_of(stream, 5)
                assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
                await ann.unsubscribe("robot")


@pytest.mark.parametrize("side", ["uplink", "downlink"])
async def test_a_link_that_fails_is_made_anew(server: RunningServer, robot: Robot, side: str) -> None:
    async with client(server, "ann") as ann, asyncio.timeout(60):
        await ann.join(1)
        stream = await ann.subscribe("robot")
        decoder, numbers, pulled = Decoder("vp8"), [], False
        connection = robot.client._uplink._connection if side == "uplink" else ann._downlink._connection
        assert connection
        async for frame in stream.video():
            numbers += [read_number(picture) for picture in decoder.pictures(frame)]
            if len(numbers) >= 5 and not pulled:
                pulled = True
                connection.fail("the test pulled the cable")  # what ten seconds without a path do
            if numbers[-1] > numbers[0] + 60:
                break
        assert connection not in (robot.client._uplink._connection, ann._downlink._connection)
        assert not [event for event in ann._events if isinstance(event, Failed)]


async def test_events_of_another_come_in_the_rooms_order(server: RunningServer) -> None:
    async with client(server, "ann") as ann:
        await ann.join("lobby")
        async with client(server, "ben") as ben:
            await ben.join("lobby")
            stream = await ben.publish(audio=True, video="vp8")
            await ben.mute(stream, video=True)
            await ben.mute(stream, video=False)
            await ben.unpublish(stream)
        events = await until(ann, lambda event: isinstance(event, PeerLeave))
        assert [type(event) for event in events] == [
            ConnectionChanged, PeerJoin, StreamAdded, MuteChanged, MuteChanged, StreamRemoved, PeerLeave,
        ]  # fmt: skip
        assert [event.video_muted for event in events if isinstance(event, MuteChanged)] == [True, False]


async def test_a_stream_that_ends_ends_its_readers(server: RunningServer) -> None:
    async with client(server, "ann") as ann, client(server, "ben") as ben, asyncio.timeout(20):
        await ann.join(1)
        await ben.join(1)
        published = await ben.publish(audio=True, video=None)
        await until(ann, lambda event: isinstance(event, StreamAdded))
        stream = await ann.subscribe("ben", video=False)
        await ben.unpublish(published)
        assert [frame async for frame in stream.audio()] == []


async def test_screen_and_camera_are_two_streams(server: RunningServer) -> None:
    async with client(server, "ann") as ann, client(server, "ben") as ben, asyncio.timeout(20):
        await ann.join(1)
        await ben.join(1)
        await ben.publish(audio=True, video="vp8")
        screen = await ben.publish(audio=False, video="vp8", stream_type="auxiliary")
        await until(ann, lambda event: isinstance(event, StreamAdded) and event.stream.stream_type == "auxiliary")
        received = await ann.subscribe("ben", "auxiliary")
        await screen.connected()
        keyframe = b"\x10\x02\x00\x9d\x01\x2a\x80\x02\x68\x01" + bytes(500)
        frames = received.video()
        sent = 0
        pending = asyncio.ensure_future(anext(frames))
        while not pending.done():
            screen.write_video(keyframe, sent * 6000)
            sent += 1
            await asyncio.wait({pending}, timeout=0.05)
        assert pending.result().data == keyframe


@pytest.mark.parametrize(
    ("age", "expire", "extra"), [(100, 10, ErrorCode.USERSIG_EXPIRED)], ids=["an expired signature"]
)
async def test_a_refused_login_has_its_code(server: RunningServer, age: int, expire: int, extra: ErrorCode) -> None:
    ann = Client(server.url, server.app, "ann", server.user_sig("ann", age=age, expire=expire))
    with pytest.raises(RtcError) as refused:
        await ann.join(1)
    assert (refused.value.code, refused.value.extra_code) == (ErrorCode.SIGNAL_CHANNEL_SETUP_FAILED, extra)
    assert str(int(extra)) in refused.value.message


async def test_the_same_user_again_removes_the_earlier(server: RunningServer) -> None:
    async with client(server, "ann") as first, client(server, "ann") as second:
        await first.join(1)
        await second.join(1)
        events = await until(first, lambda event: event == ConnectionChanged("disconnected"))
        assert any(isinstance(event, ClientBanned) and event.reason == "kick" for event in events)
        assert second.joined


async def test_the_robot_stays_when_everybody_else_has_left(server: RunningServer, robot: Robot) -> None:
    async with client(server, "ann") as ann:
        await ann.join(1)
    assert robot.client.joined
    async with client(server, "ben") as ben:
        await ben.join(1)
        await until(ben, lambda event: isinstance(event, StreamAdded))


async def test_the_examples_of_the_page_run(server: RunningServer, robot: Robot, tmp_path: Path) -> None:
    names: dict[str, object] = {}
    for example in re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL):
        exec(example, names)
    async with asyncio.timeout(30):
        sizes = await names["watch"](server.url, server.app, server.user_sig("watcher"))
        assert sizes[:10] == [(360, 640)] * 10
        speaker, loudness = await names["who_speaks"](server.url, server.app, server.user_sig("listener"))
        assert speaker == "robot"
        assert 1 <= loudness <= 100
        other = await names["started"](tmp_path / "other")
        assert other.url.startswith("http://127.0.0.1:")
        await other.stop()
