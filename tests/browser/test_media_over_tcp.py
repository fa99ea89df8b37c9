"""A network that lets no UDP through: media comes by TCP (ICE-TCP), and whoever has UDP uses that."""

from __future__ import annotations

import asyncio
import time

import pytest

from tests.browser.firefox import as_webm
from tests.browser.harness import Guest
from tests.browser.networks import Network
from tests.browser.test_call import BIKES, BUNNY, hears, knows, sees
from tests.network import Path

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="package"), pytest.mark.timeout(300)]

MOST = 20.0  # seconds; some tenths on an idle machine

# How long the connection that a publish made took, from the first candidate pair to the keys, in milliseconds.
CONNECTING = """async () => {
  const stream = TRTC.createStream({ audio: true, video: true });
  stream.setVideoProfile({ width: 640, height: 360, frameRate: 15, bitrate: 800 });
  await stream.initialize();
  const began = performance.now();
  await app.client.publish(stream);
  app.local = stream;
  return performance.now() - began;
}"""


async def publish_timed(guest: Guest) -> None:
    """Publish, and print how long the connection took: less than three seconds is what is wanted of an idle machine."""
    seconds = float(await guest.call(CONNECTING)) / 1000
    print(f"{guest.user_id}: connected over TCP in {seconds:.2f} s")
    assert seconds < MOST


def bytes_of(path: Path, kind: str) -> tuple[int, int]:
    """Bytes that went up and came down a path."""
    return path.up.counts[kind].bytes, path.down.counts[kind].bytes  # type: ignore[index]


async def test_chromium_without_udp_is_in_a_call_over_tcp_beside_one_over_udp_and_goes_on_when_udp_goes(
    network: Network, room: int
) -> None:
    alice, bob = await asyncio.gather(network.invite("alice", BUNNY), network.invite("bob", BIKES))
    assert alice.path is not None
    assert bob.path is not None
    alice.path.cut("udp")
    none = bytes_of(alice.path, "udp")
    await alice.join(room)
    await publish_timed(alice)
    await bob.join(room)
    await bob.publish()
    await asyncio.gather(knows(bob, alice), knows(alice, bob))
    await asyncio.gather(sees(bob, alice, other=bob.film), sees(alice, bob, other=alice.film))
    await asyncio.gather(hears(bob, alice, other="bob"), hears(alice, bob, other="alice"))
    assert bytes_of(alice.path, "udp") == none
    assert min(bytes_of(alice.path, "tcp")) > 100_000
    assert min(bytes_of(bob.path, "udp")) > 100_000, "who has UDP uses it"
    # In the midst of the call it is gone for the other one as well.
    bob.path.cut("udp")
    before, began = bytes_of(bob.path, "tcp"), time.monotonic()
    await asyncio.sleep(1)  # what was decoded already is not counted
    await asyncio.gather(bob.until_decoded("alice", 30), alice.until_decoded("bob", 30))
    print(f"bob: back over TCP {time.monotonic() - began:.1f} s after UDP went")
    await asyncio.gather(sees(bob, alice, other=bob.film), sees(alice, bob, other=alice.film))
    after = bytes_of(bob.path, "tcp")
    assert min(now - then for now, then in zip(after, before, strict=True)) > 50_000
    assert not await alice.events("error") + await bob.events("error")


async def test_firefox_without_udp_is_in_a_call_over_tcp(network: Network, room: int) -> None:
    alice, bob = await asyncio.gather(network.invite("alice", BUNNY), network.invite_to_firefox("bob", BIKES))
    assert bob.path is not None
    bob.path.cut("udp")
    none = bytes_of(bob.path, "udp")
    await alice.join(room)
    await alice.publish()
    await bob.join(room)
    began = time.monotonic()
    await bob.publish_from_page(as_webm(bob.film))
    print(f"bob: published from Firefox over TCP in {time.monotonic() - began:.2f} s, the film's start included")
    await asyncio.gather(knows(bob, alice), knows(alice, bob))
    await asyncio.gather(sees(bob, alice, other=bob.film), sees(alice, bob, other=alice.film))
    await asyncio.gather(hears(bob, alice, other="bob"), hears(alice, bob, other="alice"))
    assert bytes_of(bob.path, "udp") == none
    assert min(bytes_of(bob.path, "tcp")) > 100_000
    assert not await alice.events("error") + await bob.events("error")
