"""Codes of the operator that an app belongs to: ``parlour_app/get`` and ``set``."""

from __future__ import annotations

import pytest

from tests.conftest import RunningServer
from tests.scenarios.calls import done, refused_call
from tests.scenarios.conftest import Unchanged
from tests.scenarios.registry import scenario

GET, SET = "parlour_app/get", "parlour_app/set"
OWNER, STRANGER = 1001, 1002
RENAMED = {"Name": "Lessons"}


@pytest.fixture(autouse=True)
async def owned(server: RunningServer) -> None:
    await server.storage.change_app(server.app, owner=OWNER)


@scenario(
    70115,
    cause="The operator who asks for an app's settings does not own the app.",
    how="Calls parlour_app/get with the Uin of another operator.",
    part="owner check",
)
async def test_a_stranger_who_reads(server: RunningServer, unchanged: Unchanged) -> None:
    async with unchanged():
        answer = await refused_call(server, 70115, GET, {"Uin": STRANGER})
    assert f"app {server.app} does not belong to {STRANGER}" in answer["ErrorInfo"]
    assert "App" not in answer
    assert (await done(server, GET, {"Uin": OWNER}))["App"]["Owner"] == OWNER


@scenario(
    70209,
    cause="The app belongs to nobody, so there is no owner to compare with.",
    how="Calls parlour_app/get and set for an app without an owner.",
    part="owner check",
)
async def test_an_app_that_belongs_to_nobody(server: RunningServer, unchanged: Unchanged) -> None:
    await server.storage.change_app(server.app, owner=None)
    async with unchanged():
        for command in (GET, SET):
            answer = await refused_call(server, 70209, command, {"Uin": OWNER} | RENAMED)
            assert f"app {server.app} has no owner" in answer["ErrorInfo"]
    await server.storage.change_app(server.app, owner=OWNER)
    await done(server, SET, {"Uin": OWNER} | RENAMED)


@scenario(
    70210,
    cause="The operator who would change an app does not own it.",
    how="Calls parlour_app/set with the Uin of another operator.",
    part="owner check",
)
async def test_a_stranger_who_writes(server: RunningServer, unchanged: Unchanged) -> None:
    async with unchanged():
        answer = await refused_call(server, 70210, SET, {"Uin": STRANGER} | RENAMED)
    assert f"app {server.app} does not belong to {STRANGER}" in answer["ErrorInfo"]
    assert (await done(server, SET, {"Uin": OWNER} | RENAMED))["App"]["Name"] == "Lessons"


@scenario(
    70211,
    cause="The Uin of the request is no positive whole number.",
    how="Calls parlour_app/get and set with Uins such as 0, -1, a word and a list.",
    part="owner check",
)
async def test_a_uin_that_is_none(server: RunningServer, unchanged: Unchanged) -> None:
    async with unchanged():
        for wrong in (0, -1, 2**53, 1.5, "ann", "", None, True, [OWNER]):
            for command in (GET, SET):
                answer = await refused_call(server, 70211, command, {"Uin": wrong} | RENAMED)
                assert "a number from 1" in answer["ErrorInfo"]
    await done(server, SET, {"Uin": str(OWNER)} | RENAMED)
