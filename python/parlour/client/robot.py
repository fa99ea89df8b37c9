"""The robot: a participant that shows a test card and plays a note each second. It joins like everyone."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable

from parlour.client.client import Client
from parlour.client.codecs import AUDIO_CLOCK, PACKET_SAMPLES, VIDEO_CLOCK, AudioEncoder, VideoEncoder, level_of
from parlour.client.events import ClientBanned, ConnectionChanged, Failed
from parlour.client.streams import LocalStream

BITRATE = 500_000
"""Ours: enough for a card that mostly stands still."""

MAX_LATE = 0.5
"""Ours: seconds; when the machine stood still for longer, what was missed is not made up for."""


class Robot:
    """One robot in one room. Needs the codecs: see :func:`parlour.client.codecs.missing_codecs`."""

    def __init__(self, client: Client, *, on_problem: Callable[[str], None] = lambda sentence: None) -> None:
        self.client = client
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        client.on(Failed, lambda event: on_problem(f"the robot has a problem: {event.error.message}"))
        client.on(ClientBanned, lambda event: on_problem(f"the robot was removed ({event.reason}): {event.message}"))
        client.on(ConnectionChanged, self._connection_changed)

    async def start(self, room_id: int | str) -> LocalStream:
        """Join the room and publish. Raises RtcError or CodecsMissingError."""
        video = VideoEncoder(640, 360, fps=15, bitrate=BITRATE)
        audio = AudioEncoder()
        await self.client.join(room_id)
        try:
            stream = await self.client.publish(audio=True, video="vp8")
        except BaseException:
            await self.client.leave()
            raise
        stream.on_keyframe_request = video.request_keyframe
        self._stop.clear()
        self._thread = threading.Thread(target=self._perform, args=(stream, video, audio), name="parlour-robot")
        self._thread.start()
        return stream

    async def stop(self) -> None:
        """Leave the room and end the thread. Idempotent."""
        self._stop.set()
        thread, self._thread = self._thread, None
        if thread is not None:
            await asyncio.to_thread(thread.join)
        await self.client.leave()

    def _connection_changed(self, event: ConnectionChanged) -> None:
        if event.state == "disconnected":
            self._stop.set()

    def _perform(self, stream: LocalStream, video: VideoEncoder, audio: AudioEncoder) -> None:
        """Draw, play, encode and send at the pace of the clock, until told to stop."""
        from parlour.client.card import FPS, TestCard, melody

        card = TestCard()
        start, wall = time.monotonic(), time.time()
        packets = pictures = 0
        while True:
            sound_due = start + packets * PACKET_SAMPLES / AUDIO_CLOCK
            picture_due = start + pictures / FPS
            due = min(sound_due, picture_due)
            now = time.monotonic()
            if self._stop.wait(max(0.0, due - now)):
                return
            if now - due > MAX_LATE:
                packets = round((now - start) * AUDIO_CLOCK / PACKET_SAMPLES)
                pictures = round((now - start) * FPS)
            elif picture_due < sound_due:
                data = video.encode(card.draw(pictures, wall + pictures / FPS), pictures * VIDEO_CLOCK // FPS)
                if data:
                    stream.write_video(data, pictures * VIDEO_CLOCK // FPS)
                pictures += 1
            else:
                samples = packets * PACKET_SAMPLES
                sound = melody(wall + samples / AUDIO_CLOCK, PACKET_SAMPLES, AUDIO_CLOCK)
                stream.write_audio(audio.encode(sound), samples, level=level_of(sound))
                packets += 1
