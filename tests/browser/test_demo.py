"""The call page as a person uses it: the printed link, the lobby, the room, and what it says when something fails."""

from __future__ import annotations

import base64
import io
import json
import re
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import pytest_asyncio
from parlour.usersig import sign_v2
from PIL import Image
from playwright.async_api import BrowserContext, Locator, Page, Route, WebSocketRoute, expect

from tests.browser.films import SAME_FILM, Picture, at_compared_size, film, similarity
from tests.browser.harness import DEADLINE, OUTPUT, Browsers, ServerProcess, start_server
from tests.browser.speech import speech

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="package")]

DESK = {"width": 1280, "height": 800}
PHONE = {"width": 390, "height": 844}
ROBOT = "robot"
expect.set_options(timeout=DEADLINE * 1000)


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """``parlour demo``: its ``url`` is the link that it printed."""
    folder = tmp_path_factory.mktemp("demo")
    server = start_server(["demo", "--port", "0", "--media-port", "0", "--data", str(folder)], folder)
    yield server
    assert server.stop() == 0, server.said()


@dataclass
class Visitors:
    """Opens the call page for people; each has a browser profile of their own."""

    browsers: Browsers
    link: str
    contexts: list[BrowserContext]

    async def come(self, name: str, room: str, *, shows: str = "bigbuckbunny", link: str = "", **look: Any) -> Page:
        """A person in the lobby, with a film as camera."""
        browser = await self.browsers.with_devices(film(shows), speech("alice"))
        context = await browser.new_context(**{"viewport": DESK, **look})
        self.contexts.append(context)
        page = await context.new_page()
        await page.goto(link or self.link)
        await page.get_by_label("Your name").fill(name)
        await page.get_by_label("Room").fill(room)
        await expect(page.locator(".preview-picture.pictured video")).to_be_visible()
        return page


@pytest_asyncio.fixture(loop_scope="package")
async def visitors(browsers: Browsers, demo: ServerProcess) -> AsyncIterator[Visitors]:
    """People with the link. Their pages are closed after the test."""
    opened = Visitors(browsers, demo.url, [])
    yield opened
    for context in opened.contexts:
        await context.close()


def tile(page: Page, name: str) -> Locator:
    """The tile of somebody."""
    return page.locator(".tile").filter(has=page.locator(".label-name", has_text=re.compile(f"^{re.escape(name)}$")))


async def go_in(page: Page) -> None:
    """Press the button and be in the room."""
    await page.get_by_role("button", name="Go in").click()
    await expect(page.locator(".state")).to_have_text("Connected")


async def picture_of(page: Page, name: str) -> Picture:
    """What somebody's tile shows at this moment."""
    drawn = await tile(page, name).evaluate(
        """element => {
          const video = element.querySelector('video');
          const canvas = document.createElement('canvas');
          [canvas.width, canvas.height] = [video.videoWidth, video.videoHeight];
          canvas.getContext('2d').drawImage(video, 0, 0);
          return canvas.toDataURL('image/png');
        }"""
    )
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(drawn.split(",", 1)[1]))).convert("RGB"))


async def plays(page: Page, name: str, pictures: int = 15) -> None:
    """Wait until somebody's tile has shown that many pictures."""
    await expect(tile(page, name).locator("video")).to_be_visible()
    await tile(page, name).evaluate(
        """(element, pictures) => new Promise(resolve => {
          const video = element.querySelector('video');
          const next = () => (pictures -= 1) > 0 ? video.requestVideoFrameCallback(next) : resolve();
          video.requestVideoFrameCallback(next);
        })""",
        pictures,
    )


async def shoot(page: Page, name: str) -> None:
    """Keep a screenshot for people to look at."""
    OUTPUT.mkdir(exist_ok=True)
    await page.screenshot(path=OUTPUT / f"{name}.png")


@pytest.mark.parametrize(
    ("look", "scheme", "size"), [("light", "light", DESK), ("dark", "dark", DESK), ("phone", "dark", PHONE)]
)
async def test_one_person_alone_sees_and_hears_the_robot(
    visitors: Visitors, look: str, scheme: str, size: dict[str, int]
) -> None:
    page = await visitors.come("Ada Lovelace", "1", color_scheme=scheme, viewport=size)
    await page.wait_for_function("document.querySelector('.meter').getAttribute('aria-valuenow') > 10")
    await shoot(page, f"lobby-{look}")
    await go_in(page)
    await plays(page, ROBOT)
    first = await picture_of(page, ROBOT)
    await plays(page, ROBOT, 20)
    assert np.abs(first.astype(int) - await picture_of(page, ROBOT)).max() > 60, "the robot's clock stands still"
    await expect(page.locator(".tile.speaking", has_text=ROBOT)).to_be_visible()
    await shoot(page, f"room-{look}")
    await page.get_by_role("button", name="Leave").click()
    await expect(page.get_by_role("button", name="Go in")).to_be_visible()


async def test_two_people_see_each_other_and_their_mutes(visitors: Visitors) -> None:
    ada = await visitors.come("Ada", "two")
    await go_in(ada)
    await expect(ada.get_by_text("Nobody else is here yet")).to_be_visible()
    await shoot(ada, "room-alone")
    grace = await visitors.come("Grace Hopper", "two", shows="bikes")
    await go_in(grace)
    await plays(grace, "Ada", 60)
    await plays(ada, "Grace Hopper", 15)
    assert similarity(await picture_of(grace, "Ada"), film("bigbuckbunny")) >= SAME_FILM
    assert similarity(await picture_of(ada, "Grace Hopper"), film("bikes")) >= SAME_FILM
    await expect(ada.locator(".count")).to_have_text("2")
    await shoot(grace, "room-two")

    await ada.keyboard.press("m")
    await expect(tile(grace, "Ada")).to_have_attribute("aria-label", "Ada, muted")
    await ada.keyboard.press("v")
    await expect(tile(grace, "Ada")).to_have_attribute("aria-label", "Ada, muted, no picture")
    await shoot(grace, "room-muted")
    await ada.get_by_role("button", name="Turn your camera on").click()
    await ada.get_by_role("button", name="Turn your microphone on").click()
    await expect(tile(grace, "Ada")).to_have_attribute("aria-label", "Ada")
    await plays(grace, "Ada", 5)

    await ada.get_by_role("button", name="Leave").click()
    await expect(tile(grace, "Ada")).to_have_count(0)


async def test_a_screen_is_shared_and_devices_are_changed_while_the_call_goes_on(visitors: Visitors) -> None:
    ada = await visitors.come("Ada", "screens")
    grace = await visitors.come("Grace", "screens", shows="bikes")
    await go_in(ada)
    await go_in(grace)
    await plays(grace, "Ada")
    await ada.get_by_role("button", name="Share your screen").click()
    await expect(tile(grace, "Ada’s screen")).to_be_visible()
    await plays(grace, "Ada’s screen", 3)
    await expect(tile(ada, "Your screen")).to_be_visible()
    # Who comes later sees it, and the person is there beside the screen.
    zoe = await visitors.come("Zoe", "screens", shows="bikes")
    await go_in(zoe)
    await plays(zoe, "Ada’s screen", 3)
    assert similarity(await picture_of(grace, "Ada"), film("bigbuckbunny")) >= SAME_FILM
    await expect(grace.locator(".quality")).to_have_attribute(
        "aria-label", re.compile("sending (excellent|good|fair), receiving (excellent|good|fair)")
    )
    await shoot(grace, "room-screen")
    await ada.get_by_label("Choose camera and microphone").click()
    await shoot(ada, "room-devices")
    cameras = ada.locator(".devices-card select").first
    chosen = await cameras.input_value()
    others = await cameras.locator("option").evaluate_all("all => all.map(one => one.value)")
    await cameras.select_option(others[-1])
    await plays(grace, "Ada", 5)
    assert (await cameras.input_value(), chosen in others) == (others[-1], True)
    await ada.get_by_role("button", name="Stop sharing your screen").click()
    await expect(tile(grace, "Ada’s screen")).to_have_count(0)
    await expect(tile(zoe, "Ada’s screen")).to_have_count(0)
    await plays(grace, "Ada", 5)
    await expect(ada.locator(".problem")).to_have_count(0)


async def test_a_broadcast_is_looked_on_at_until_somebody_goes_on_the_stage(visitors: Visitors) -> None:
    ada = await visitors.come("Ada", "hall")
    grace = await visitors.come("Grace", "hall", shows="bikes")
    for page in (ada, grace):
        await page.get_by_label("A broadcast").check()
        await go_in(page)
        await expect(page.get_by_text("Nobody is on the stage yet")).to_be_visible()
        await expect(page.locator(".tile")).to_have_count(0)
    await ada.get_by_role("button", name="Go on the stage").click()
    await plays(grace, "Ada")
    await expect(grace.locator(".count")).to_have_text("1")
    await shoot(grace, "room-broadcast")
    await expect(ada.locator(".tile")).to_have_count(1)
    await ada.get_by_role("button", name="Leave the stage").click()
    await expect(tile(grace, "Ada")).to_have_count(0)
    await ada.get_by_role("button", name="Go on the stage").click()
    await plays(grace, "Ada")
    # A call and a broadcast are two kinds of rooms: the page says which this is.
    zoe = await visitors.come("Zoe", "hall")
    await zoe.get_by_role("button", name="Go in").click()
    await expect(zoe.get_by_role("alert")).to_contain_text("This room is a broadcast")
    await shoot(zoe, "problem-broadcast")
    await zoe.get_by_label("A broadcast").check()
    await go_in(zoe)
    await plays(zoe, "Ada")


async def test_the_copied_link_leads_into_the_same_room(visitors: Visitors) -> None:
    ada = await visitors.come("Ada", "tea & cake", permissions=["clipboard-read", "clipboard-write"])
    await go_in(ada)
    await ada.get_by_role("button", name="Copy the link of this room").click()
    await expect(ada.get_by_text("Copied")).to_be_visible()
    link = await ada.evaluate("navigator.clipboard.readText()")
    zoe = await visitors.come("Zoë 李", "x", link=link)
    await zoe.goto("about:blank")
    await zoe.goto(link)
    await expect(zoe.get_by_label("Room")).to_have_value("tea & cake")
    await expect(zoe.get_by_label("Your name")).to_have_value("")
    await zoe.get_by_label("Your name").fill("Zoë 李")
    await go_in(zoe)
    await expect(tile(ada, "Zoë 李")).to_be_visible()


async def test_without_a_camera_the_refusal_is_explained_and_a_generated_picture_takes_its_place(
    visitors: Visitors, browsers: Browsers
) -> None:
    refusing = await browsers.launch("--deny-permission-prompts", "--allow-loopback-in-peer-connection")
    context = await refusing.new_context(viewport=DESK)
    visitors.contexts.append(context)
    ada = await context.new_page()
    await ada.goto(visitors.link)
    await ada.get_by_label("Your name").fill("Ada")
    await ada.get_by_label("Room").fill("window")
    await expect(ada.get_by_role("heading", name="This page may not use your camera and microphone")).to_be_visible()
    await expect(ada.get_by_role("button", name="Go in to watch and listen")).to_be_enabled()
    await shoot(ada, "lobby-refused")
    await ada.get_by_role("button", name="Use a generated picture").click()
    await expect(ada.locator(".preview-picture.pictured video")).to_be_visible()
    await shoot(ada, "lobby-generated")
    await go_in(ada)
    grace = await visitors.come("Grace", "window", shows="bikes", viewport=PHONE)
    await go_in(grace)
    await plays(grace, "Ada", 30)
    first = at_compared_size(await picture_of(grace, "Ada")).astype(int)
    await plays(grace, "Ada", 10)
    moved = np.abs(first - at_compared_size(await picture_of(grace, "Ada"))).max(axis=2)
    assert moved[80:145, 215:310].max() > 60, "the pendulum stands still"
    await expect(grace.locator(".tile.speaking", has_text="Ada")).to_be_visible()
    await shoot(grace, "room-generated-phone")


async def test_a_refused_signature_is_explained_by_the_catalogue(visitors: Visitors) -> None:
    page = await visitors.come("Ada", "1")

    async def forge(route: Route) -> None:
        answer = await route.fetch()
        admission = await answer.json()
        user = json.loads(route.request.post_data or "{}")["userId"]
        forged = sign_v2(admission["sdkAppId"], user, "another app's key", expire=600, now=int(time.time()))
        await route.fulfill(response=answer, json={**admission, "userSig": forged})

    await page.route("**/demo/usersig", forge)
    await page.get_by_role("button", name="Go in").click()
    problem = page.get_by_role("alert")
    await expect(problem).to_contain_text("You could not join the room")
    await expect(problem).to_contain_text("The signature does not match any key of this app")
    await problem.locator("summary").click()
    await expect(problem).to_contain_text("70009 USERSIG_KEY_MISMATCH")
    await expect(problem).to_contain_text("0x4001 SIGNAL_CHANNEL_SETUP_FAILED")
    await shoot(page, "problem-join")
    await page.unroute("**/demo/usersig")
    await go_in(page)
    await expect(tile(page, ROBOT)).to_be_visible()


async def test_a_link_with_a_wrong_token_and_one_without_say_so(visitors: Visitors) -> None:
    page = await visitors.come("Ada", "1", link=f"{visitors.link.split('#')[0]}#token=wrong")
    await page.get_by_role("button", name="Go in").click()
    await expect(page.get_by_role("alert")).to_contain_text("This link is not valid")
    bare = await visitors.come("Ada", "1", link=visitors.link.split("#")[0])
    await expect(bare.get_by_role("alert")).to_contain_text("This link is not valid")


async def test_the_same_person_on_a_second_page_sends_the_first_one_back_with_the_reason(visitors: Visitors) -> None:
    first = await visitors.come("Ada", "kick")
    await go_in(first)
    tab = await first.evaluate("sessionStorage.getItem('parlour.tab')")
    second = await visitors.come("Ada", "kick")
    await second.evaluate("tab => sessionStorage.setItem('parlour.tab', tab)", tab)
    await go_in(second)
    await expect(first.get_by_role("alert")).to_contain_text("You entered this room somewhere else")
    await shoot(first, "problem-kicked")


async def test_a_browser_that_keeps_the_sound_back_is_asked_with_one_click(visitors: Visitors) -> None:
    page = await visitors.come("Ada", "1")
    # What browsers do to pages that nobody has touched; here the page was touched, so the policy is put in its place.
    await page.evaluate(
        """() => {
          const play = HTMLMediaElement.prototype.play;
          HTMLMediaElement.prototype.play = function () {
            const allowed = this.muted || window.soundAllowed;
            return allowed ? play.call(this) : Promise.reject(new DOMException('not yet', 'NotAllowedError'));
          };
          addEventListener('click', ({ target }) => {
            if (target.closest('.banner')) window.soundAllowed = true;
          }, { capture: true });
        }"""
    )
    await go_in(page)
    allow = page.get_by_role("button", name="Turn the sound on")
    await expect(allow).to_be_visible()
    await shoot(page, "room-sound-blocked")
    await allow.click()
    await expect(allow).to_have_count(0)
    await page.wait_for_function("[...document.querySelectorAll('.tile audio, .tile video')].every(one => !one.paused)")


async def test_a_lost_connection_is_told_and_comes_back_with_everybody_in_place(visitors: Visitors) -> None:
    page = await visitors.come("Ada", "1")
    sockets: list[WebSocketRoute] = []
    down = False

    async def between(socket: WebSocketRoute) -> None:
        if down:
            await socket.close(code=3001, reason="the network is down")
            return
        sockets.append(socket.connect_to_server())

    await page.route_web_socket("**/v1/ws**", between)
    await go_in(page)
    await plays(page, ROBOT)
    down = True
    await sockets[0].close(code=3001, reason="the network is down")  # towards the server
    await expect(page.locator(".state")).to_have_text("Connection lost, trying again")
    await expect(tile(page, ROBOT)).to_be_visible()
    await shoot(page, "room-reconnecting")
    down = False
    await expect(page.locator(".state")).to_have_text("Connected")
    assert len(sockets) == 2
    await plays(page, ROBOT)
    await expect(page.locator(".tile")).to_have_count(2)


async def test_a_session_that_the_server_ended_is_explained_in_the_lobby(visitors: Visitors) -> None:
    page = await visitors.come("Ada", "1")
    sockets: list[WebSocketRoute] = []

    async def between(socket: WebSocketRoute) -> None:
        sockets.append(socket)
        server = socket.connect_to_server()
        # Towards the server the socket closes in good order, so that the session ends; the page is told of a loss.
        socket.on_close(lambda code, reason: server.close(code=1000))

    await page.route_web_socket("**/v1/ws**", between)
    await go_in(page)
    await plays(page, ROBOT)
    await sockets[0].close(code=3001, reason="the network is down")
    problem = page.get_by_role("alert")
    await expect(problem).to_contain_text("The connection was lost")
    await problem.locator("summary").click()
    await expect(problem).to_contain_text("70221")
    await expect(problem).to_contain_text("0x4006 SIGNAL_CHANNEL_RECONNECTION_FAILED")
    await expect(page.get_by_role("button", name="Go in")).to_be_enabled()


async def test_every_control_has_a_name_and_can_be_reached_by_the_keyboard(visitors: Visitors) -> None:
    page = await visitors.come("Ada", "keys")

    async def reached() -> set[str]:
        await page.evaluate("document.activeElement.blur()")
        names = set()
        for _ in range(12):
            await page.keyboard.press("Tab")
            names.add(
                await page.evaluate("(({ ariaLabel, innerText }) => ariaLabel ?? innerText)(document.activeElement)")
            )
        return names

    assert {"Turn your microphone off", "Turn your camera off"} <= await reached()
    await page.get_by_label("Your name").press("Enter")
    await expect(page.locator(".state")).to_have_text("Connected")
    assert {
        "Turn your microphone off",
        "Turn your camera off",
        "Copy the link of this room",
        "Leave",
    } <= await reached()
    unnamed = await page.evaluate(
        "[...document.querySelectorAll('button')].filter(one => !(one.ariaLabel || one.innerText.trim())).length"
    )
    assert unnamed == 0
