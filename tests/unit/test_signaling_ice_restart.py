"""ICE restarts of a downlink: one offer with new credentials, whoever asks and however often."""

from __future__ import annotations

import re

import pytest
from parlour.errors import RtcError
from parlour.protocol.messages import Publish
from parlour.signaling.encodings import WantedEncodings
from parlour.signaling.uplink import RestartReason, Uplink

from tests.unit.downlink_client import Book, Client, answer_to
from tests.wire import offer


def receiving() -> Client:
    client = Client()
    client.publish("ann")
    client.downlink.subscribe("ann", "main", ["video"])
    client.answer()
    return client


def ufrag(client: Client) -> str:
    return str(re.findall(r"a=ice-ufrag:(\S+)", client.offers[-1].sdp)[0])


def test_a_restart_is_an_offer_with_new_credentials_of_the_same_connection_and_consumers_go_on() -> None:
    client = receiving()
    before, consumers = ufrag(client), dict(client.book.consumers)
    assert client.downlink.restart_ice() == 2
    offer = client.offers[-1]
    assert (offer.revision, offer.restart, [track.user_id for track in offer.tracks]) == (2, False, ["ann"])
    assert ufrag(client) != before
    client.answer()
    assert client.book.consumers == consumers
    assert len(client.book.transports) == 1
    # And once more, which is another restart.
    assert client.downlink.restart_ice() == 3
    client.answer()
    assert client.book.restarts == 2


def test_a_thousand_requests_before_the_answer_are_one_restart() -> None:
    client = receiving()
    assert {client.downlink.restart_ice() for _ in range(1000)} == {2}
    assert (client.book.restarts, len(client.offers)) == (1, 2)


def test_a_restart_asked_for_while_an_offer_waits_comes_with_the_next_one() -> None:
    client = receiving()
    client.publish("bob")
    client.downlink.subscribe("bob", "main", ["video"])
    assert client.downlink.restart_ice() == client.downlink.restart_ice() == 3
    assert client.book.restarts == 0
    client.answer()
    assert (client.offers[-1].revision, client.book.restarts) == (3, 1)
    client.answer()
    assert client.receiving == {client.producer("ann"), client.producer("bob")}


def test_without_a_socket_it_waits_for_one_and_is_told_again_with_each() -> None:
    client = receiving()
    client.online = False
    client.downlink.restart_ice()
    client.downlink.restart_ice()
    client.online = True
    client.downlink.resend()
    told = ufrag(client)
    client.downlink.resend()
    assert (ufrag(client), client.book.restarts) == (told, 1)
    client.answer()


def test_a_silent_path_is_restarted_and_one_that_was_never_connected_is_not() -> None:
    client = Client()
    assert client.downlink.restart_ice() == 0
    client.publish("ann")
    client.downlink.subscribe("ann", "main", ["video"])
    assert client.downlink.restart_ice() == 1
    assert client.book.restarts == 0, "the offer that is unanswered has new credentials as it is"
    client.answer()
    assert client.book.on_silent is not None
    client.book.on_silent()
    assert (client.book.restarts, len(client.offers)) == (1, 2)


def test_a_downlink_that_is_dead_is_not_restarted_but_made_anew() -> None:
    client = receiving()
    client.book.fail(next(iter(client.book.transports)), "consent-expired")
    with pytest.raises(RtcError, match="send downlink-restart"):
        client.downlink.restart_ice()
    client.downlink.restart()
    client.answer()
    assert client.receiving == {client.producer("ann")}


def test_an_answer_to_a_restart_is_from_the_same_connection_and_none_restarts_unasked() -> None:
    client = receiving()
    client.publish("bob")
    client.downlink.subscribe("bob", "main", ["video"])
    with pytest.raises(RtcError, match="another connection"):
        client.downlink.answer(2, answer_to(client.offers[-1].sdp, client="stranger"))
    client.answer()
    client.downlink.restart_ice()
    stranger = client.offers[-1].sdp.replace("AB:" * 31, "CD:" * 31)
    with pytest.raises(RtcError, match="another connection"):
        client.downlink.answer(3, answer_to(stranger))
    client.answer()


def test_an_uplink_that_falls_silent_is_asked_for_a_restart_with_every_socket_until_there_was_one() -> None:
    book, asked = Book(), list[RestartReason]()

    def follow(_: object, __: object) -> WantedEncodings:
        raise AssertionError("one encoding")

    uplink = Uplink(book, 0, lambda reason: None, follow, on_restart_wanted=asked.append)
    uplink.want_restart("moved")
    assert asked == [], "there is nothing to restart"
    request = Publish(id=1, sdp=offer(), audio_mid="0", video_mid="1")
    uplink.accept(request, *uplink.read(request))
    assert book.on_silent is not None
    book.on_silent()
    uplink.repeat()
    assert asked == ["silent", "silent"]
    uplink.restart_ice(re.sub(r"a=ice-ufrag:\S+", "a=ice-ufrag:elsewhere", offer()))
    uplink.repeat()
    assert (len(asked), book.restarts, len(book.transports)) == (2, 1, 1)
    with pytest.raises(RtcError, match="another connection"):
        uplink.restart_ice(re.sub(r"(a=fingerprint:sha-256) ..", r"\1 00", offer()))
    uplink.close()
    with pytest.raises(RtcError, match="no uplink to restart"):
        uplink.restart_ice(offer())


@pytest.mark.parametrize("again", ["actpass", "passive"])
def test_an_uplink_keeps_its_dtls_roles_through_a_restart_whatever_the_new_offer_leaves_open(again: str) -> None:
    book = Book()

    def follow(_: object, __: object) -> WantedEncodings:
        raise AssertionError("one encoding")

    uplink = Uplink(book, 0, lambda reason: None, follow)
    request = Publish(id=1, sdp=offer().replace("a=setup:actpass", "a=setup:passive"), audio_mid="0", video_mid="1")
    answer = uplink.accept(request, *uplink.read(request))
    assert set(re.findall(r"a=setup:(\S+)", answer)) == {"active"}
    [before] = book.remotes.values()
    elsewhere = re.sub(r"a=ice-ufrag:\S+", "a=ice-ufrag:elsewhere", offer())
    answer = uplink.restart_ice(elsewhere.replace("a=setup:actpass", f"a=setup:{again}"))
    [after] = book.remotes.values()
    assert book.restarts == 1
    assert (after.setup, set(re.findall(r"a=setup:(\S+)", answer))) == (before.setup, {"active"})
