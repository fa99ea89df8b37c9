"""``parlour load`` as a process, against a running server: exact counts, and refusals that say what to do."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from parlour.client import Client

from tests.cli import Beside, elsewhere, environment
from tests.conftest import RunningServer, StartServer
from tests.contract.test_demo import demo
from tests.databases import AnyDatabase


@pytest.fixture
async def server(start_server: StartServer) -> RunningServer:
    """It sends everything as it comes: on a busy machine packets are late, which counts as a path that is full."""
    return await start_server(media__adapt=False)


@pytest.fixture
def beside(tmp_path: Path, database: AnyDatabase) -> Beside:
    return Beside(environment(tmp_path, tmp_path / "data", database))


async def test_a_small_load_is_delivered_exactly(server: RunningServer, beside: Beside) -> None:
    """The key is the one of the server's data folder."""
    load = ("load", server.url, "--app", server.app, "--subscribers", 3, "--publishers", 2, "--rooms", 2)
    told = await beside.good(*load, "--media", "both", "--seconds", 2, "--room", 7)
    assert told["exact"] is True, told
    assert told["expected"] == told["received"] > 0
    assert (told["lost"], told["duplicates"], told["subscribersWithLoss"], told["undecryptable"]) == (0, 0, 0, 0)
    assert (told["firstRoom"], told["rooms"], told["patterns"]) == (7, 2, ["speech", "recorded"])
    assert told["srtp"] == ["AEAD_AES_256_GCM"]
    assert 0 < told["milliseconds"]["p50"] <= told["milliseconds"]["p99"] <= told["milliseconds"]["max"]


async def test_the_result_is_a_table_for_people_and_everybody_has_left(server: RunningServer, beside: Beside) -> None:
    load = ("load", server.url, "--app", server.app, "--key", server.key, "--room", 9)
    done = await beside(*load, "--subscribers", 2, "--seconds", 1)
    assert done.status == 0, done.err
    assert done.pairs["Load"].strip().startswith("1 x 1 to 2, recorded")
    assert done.pairs["Lost"].strip().startswith("0 (0.000%)")
    assert done.pairs["Twice"].strip() == "0"
    async with Client(server.url, server.app, "ann", server.user_sig("ann")) as ann:
        await ann.join(9)
        assert ann.room.members == {}


async def test_the_link_of_a_demo_is_enough(tmp_path: Path) -> None:
    async with demo(tmp_path / "demo", "--no-robot", PARLOUR_MEDIA__ADAPT="false") as running:
        told = await Beside(elsewhere(tmp_path)).good("load", running.link, "--subscribers", 2, "--seconds", 1)
        assert told["exact"] is True, told
        done = await Beside(elsewhere(tmp_path))("load", f"{running.link}x", "--seconds", 1)
    assert done.status == 1
    assert "does not take this link: the token is not the one of the link" in done.err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--app", 1400000001, "--key", "f" * 64), "was not let in: .*70009"),
        (("--app", 1400000002, "--key", "f" * 64), "was not let in: .*-8"),
        (("--app", 1400000002), "There is no app 1400000002"),
    ],
    ids=["a wrong key", "an app that is not there", "an app without a key here"],
)
async def test_a_refusal_is_told_with_its_code(
    server: RunningServer, beside: Beside, arguments: tuple[object, ...], says: str
) -> None:
    done = await beside("load", server.url, *arguments)
    assert done.status == 1
    assert re.search(says, done.err), done.err


async def test_nobody_at_the_address_is_a_sentence(tmp_path: Path) -> None:
    done = await Beside(elsewhere(tmp_path))("load", "http://127.0.0.1:9", "--app", 1400000001, "--key", "f" * 64)
    assert done.status == 1
    assert "no signaling channel to http://127.0.0.1:9" in done.err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("ftp://somewhere", "--app", 1), "is no http:// or https:// address"),
        (("http://127.0.0.1:9",), "it is needed, but for the link of a demo"),
        (("http://127.0.0.1:9/demo/#token=x", "--app", 1), "names app and key already"),
        (("http://127.0.0.1:9", "--app", 1, "--media", "smell"), "none of video, audio, both"),
    ],
)
async def test_wrong_usage_is_status_2(tmp_path: Path, arguments: tuple[object, ...], says: str) -> None:
    done = await Beside(elsewhere(tmp_path))("load", *arguments)
    assert done.status == 2
    assert says in " ".join(done.err.replace("│", " ").split())
