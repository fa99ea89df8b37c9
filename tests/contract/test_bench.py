"""What the benches ask is what the server answers, and the page about speed says what they measured."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from bench import accounts, contenders, janus, machine, media, media_page, page, servers, shards, stores
from bench.load import WrongAnswerError, frame, frames
from bench.measure import Timing, Workload

SHORT = Timing(1, 0.3)


@pytest.mark.parametrize("name", ["sqlite", "postgresql"])
def test_every_workload_is_answered_as_expected_and_takes_away_what_it_made(name: str) -> None:
    with stores.place(name) as place, servers.parlour(place) as served:
        measured = accounts.Measured(place, served, SHORT)
        measured.fill(1_000)
        for workload in accounts.WORKLOADS:
            figure = measured.figure(workload).to_json()
            assert figure["perSecond"] > 0
            assert 0 < figure["milliseconds"]["p50"] <= figure["milliseconds"]["p99"]
            assert figure["busy"]["server"] > 0
        measured.fill(2_000)
        measured.figure(accounts.CHECK)  # of which every second account came with the second filling


@pytest.mark.parametrize("workload", [accounts.CHECK, accounts.LOGIN], ids=["http", "websocket"])
def test_a_wrong_answer_ends_the_bench_instead_of_counting(workload: Workload) -> None:
    with stores.place("sqlite") as place, servers.parlour(place) as served:
        measured = accounts.Measured(place, served, SHORT)
        measured.there = 10  # as if they had been put there
        wrong = Workload(workload.name, workload.client, 2, lambda answer: b"Imported at last" in answer)
        with pytest.raises(WrongAnswerError, match="The server answered"):
            measured.figure(wrong)


TRIES = 4


def test_every_media_scenario_is_delivered_whole_by_each_server(tmp_path: Path) -> None:
    timing = media.Timing(1, 0.2)
    with (
        machine.on_core(machine.CORES.others),
        contenders.everybody(tmp_path / "all", with_janus=janus.library() is not None) as found,
    ):
        for scenario in media.scenarios(4):
            # A server that has to wait for the processor loses some of it: what counts is that it can be whole.
            lacks = ["nothing was measured"]
            for _ in range(TRIES):
                measured = asyncio.run(media.measure(scenario, found, timing))
                assert list(measured["servers"]) == [one.name for one in found]
                assert measured["name"][1:] in media_page.scenario(measured)
                assert all(figures["duplicates"] == 0 for figures in measured["servers"].values())
                delivered = {name: figures["delivered"] for name, figures in measured["servers"].items()}
                lacks = [f"{name}: {got} of {all_}" for name, (got, all_) in delivered.items() if not 0 < got == all_]
                if not lacks:
                    break
            assert not lacks, (measured["name"], lacks)


def test_joins_and_memory_of_our_server_are_measured(tmp_path: Path) -> None:
    with contenders.parlour_alone(tmp_path / "parlour") as served:
        joined = asyncio.run(media.joins(served, 4, 1, lone=1))
        assert joined["cpuMilliseconds"]["median"] >= 0 < joined["firstPictureMilliseconds"]["median"]
        assert asyncio.run(media.memory(served, (1, 3)))["kib"][0] > 10_000


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 65_535])
@pytest.mark.parametrize("masked", [True, False])
def test_frames_are_found_in_whatever_pieces_they_come(size: int, masked: bool) -> None:
    payload = b"x" * size
    sent = frame(payload, masked=masked) + frame(b"next", masked=masked)
    for cut in {0, 1, 2, 3, 4, 5, len(sent) - 1, len(sent)}:
        first, rest = frames(sent[:cut])
        second, rest = frames(rest + sent[cut:])
        assert [*first, *second] == [(1, payload), (1, b"next")]
        assert rest == b""


def test_the_page_about_speed_says_what_the_results_files_say() -> None:
    assert page.PAGE.read_text(encoding="utf-8") == page.recorded()


async def test_what_a_second_shard_is_worth_is_measured_with_a_room_on_each() -> None:
    (measured,) = await shards.measure(1, 1.0)
    # What it comes to on a machine that tests keep busy says nothing; that each shard has sent its room's packets does.
    assert measured.alone > 0
    assert min(measured.both) > 0
