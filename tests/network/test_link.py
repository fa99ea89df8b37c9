"""The path's state machine, to the packet and to the moment."""

from __future__ import annotations

import random

import pytest

from tests.network.link import Conditions, Counts, Link

TCP, UDP, ICMP = 6, 17, 1


def packet(number: int, protocol: int = UDP, size: int = 100) -> bytes:
    """An IPv4 packet with a number in it."""
    header = bytes((0x45, 0)) + size.to_bytes(2) + bytes(5) + bytes((protocol,)) + bytes(10)
    return header + number.to_bytes(4) + bytes(size - 24)


def number_of(arrived: bytes) -> int:
    return int.from_bytes(arrived[20:24])


def through(link: Link, until: float = 1e9) -> list[int]:
    return [number_of(arrived) for arrived in link.due(until)]


def test_a_packet_comes_out_when_its_delay_is_over_and_not_before() -> None:
    link = Link(Conditions(delay=0.05))
    link.offer(packet(1), 10.0)
    link.offer(packet(2), 10.01)
    assert link.next_due == pytest.approx(10.05)
    assert through(link, 10.049) == []
    assert through(link, 10.055) == [1]
    assert link.next_due == pytest.approx(10.06)
    assert through(link, 10.06) == [2]
    assert link.next_due is None


def test_the_seed_alone_decides_what_is_lost() -> None:
    def lost(seed: int) -> set[int]:
        link = Link(Conditions(loss=0.1), seed=seed)
        for number in range(1000):
            link.offer(packet(number), number / 1000)
        arrived = set(through(link))
        assert link.counts["udp"].lost == 1000 - len(arrived)
        return set(range(1000)) - arrived

    assert lost(1) == lost(1)
    assert lost(1) != lost(2)
    assert 60 < len(lost(1)) < 140  # five standard deviations about 100


def test_what_tcp_sends_changes_nothing_for_udp() -> None:
    rng = random.Random(5)
    alone, beside = (Link(Conditions(loss=0.3, reorder=0.2), seed=9) for _ in range(2))
    for number in range(500):
        alone.offer(packet(number), float(number))
        for _ in range(rng.randrange(3)):
            beside.offer(packet(9999, TCP), float(number))
        beside.offer(packet(number), float(number))
    assert [one for one in through(beside) if one != 9999] == through(alone)
    assert beside.counts["udp"] == alone.counts["udp"]


def test_the_rate_spaces_packets_and_its_queue_is_bounded() -> None:
    link = Link(Conditions(rate=8_000, queue=4))  # 1,000 bytes a second: 0.1 s a packet
    for number in range(10):
        link.offer(packet(number), 0.0)
    assert link.counts["udp"] == Counts(offered=10, overflowed=6)
    assert through(link, 0.05) == []
    assert through(link, 0.201) == [0, 1]
    link.offer(packet(10), 0.21)  # two have left: there is room again
    assert through(link, 0.401) == [2, 3]
    assert through(link, 0.501) == [10]
    link.offer(packet(11), 7.0)  # an idle link does not save up what it did not send
    assert link.next_due == pytest.approx(7.1)


def test_a_reordered_packet_comes_after_those_sent_behind_it() -> None:
    link = Link(Conditions(delay=0.01, reorder=0.1, held_back=0.05), seed=3)
    for number in range(200):
        link.offer(packet(number), number * 0.01)
    arrived = through(link)
    late = [number for number, before in zip(arrived[1:], arrived, strict=False) if number < before]
    assert sorted(arrived) == list(range(200))
    assert 0 < len(late) <= link.counts["udp"].reordered
    assert all(abs(arrived.index(number) - number) <= 5 for number in range(200))


def test_a_cut_takes_its_kind_and_what_is_under_way_and_spares_the_others() -> None:
    link = Link(Conditions(delay=1.0))
    for number, protocol in enumerate((UDP, TCP, ICMP)):
        link.offer(packet(number, protocol), 0.0)
    link.cut("udp")
    link.offer(packet(3, UDP), 0.5)
    link.offer(packet(4, TCP), 0.5)
    assert through(link) == [1, 2, 4]
    assert link.counts["udp"] == Counts(offered=2, cut=2)
    link.cut()
    link.restore("udp")
    for number, protocol in enumerate((UDP, TCP, ICMP)):
        link.offer(packet(number, protocol), 2.0)
    assert through(link) == [0]
    link.restore()
    link.offer(packet(7, TCP), 3.0)
    assert through(link) == [7]


def test_every_packet_is_counted_once() -> None:
    link = Link(Conditions(delay=0.01, loss=0.2, reorder=0.1, rate=80_000, queue=10), seed=4)
    for number in range(600):
        if number == 200:
            link.cut("udp")
        if number == 300:
            link.restore()
        link.offer(packet(number), number * 0.005)
        list(link.due(number * 0.005))
    list(link.due(1e9))
    counts = link.counts["udp"]
    assert counts.offered == 600
    assert counts.delivered + counts.lost + counts.cut + counts.overflowed == 600
    assert min(counts.delivered, counts.lost, counts.cut, counts.overflowed, counts.reordered) > 0
    assert counts.bytes == counts.delivered * 100
