"""The downlink's negotiation in whatever order things happen."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from parlour.protocol.words import VideoType

from tests.unit.downlink_client import Client


class DownlinkMachine(RuleBasedStateMachine):
    """Anything in any order: after all is answered, exactly what is wanted, there and playable is received."""

    def __init__(self) -> None:
        super().__init__()
        self.client = Client()
        self.client.hurried = True

    users = st.sampled_from(["ann", "bob", "cyd"])
    kinds = st.sampled_from(["audio", "video"])

    @rule(user=users, kind=kinds, living=st.booleans(), encodings=st.integers(1, 3))
    def publish(self, user: str, kind: str, living: bool, encodings: int) -> None:
        self.client.publish(user, kind, living=living, encodings=encodings if kind == "video" else 1)

    @rule(user=users, video_type=st.sampled_from(["big", "small"]))
    def want(self, user: str, video_type: VideoType) -> None:
        if any(key[0] == user for key in self.client.tracks):
            self.client.downlink.video_types.want((user, "main"), video_type)

    @rule(user=users)
    def unpublish(self, user: str) -> None:
        self.client.unpublish(user)

    @rule(user=users, kinds=st.sets(kinds))
    def subscribe(self, user: str, kinds: set[str]) -> None:
        revision = self.client.downlink.subscribe(user, "main", kinds)  # type: ignore[arg-type]
        assert self.client.downlink.revision <= revision <= self.client.downlink.revision + 1

    @rule(user=users)
    def unsubscribe(self, user: str) -> None:
        self.client.downlink.drop(user, "main")

    @rule()
    def answer(self) -> None:
        if self.client.offers:
            self.client.answer()

    @rule(online=st.booleans())
    def socket(self, online: bool) -> None:
        self.client.online = online
        if online:
            self.client.downlink.resend()

    @rule()
    def wait(self) -> None:
        self.client.wait()

    @rule()
    def fail(self) -> None:
        for transport in list(self.client.book.transports):
            self.client.book.fail(transport, "consent-expired")

    @rule()
    def restart(self) -> None:
        self.client.downlink.restart()

    @rule(times=st.integers(1, 3))
    def restart_ice(self, times: int) -> None:
        if self.client.downlink.failure is not None:
            return
        revisions = [self.client.downlink.restart_ice() for _ in range(times)]
        assert self.client.downlink.revision <= revisions[-1] <= self.client.downlink.revision + 1

    @invariant()
    def only_what_is_wanted_is_received(self) -> None:
        wanted = self.client.downlink.subscriptions
        for key, track in self.client.tracks.items():
            if self.client.receiving & set(track.producers):
                assert key[2] in wanted.get((key[0], key[1]), ())

    def teardown(self) -> None:
        client = self.client
        client.online, client.hurried = True, False
        client.wait()
        if client.downlink.failure is not None:
            client.downlink.restart()
        client.downlink.resend()
        for _ in range(4):
            if client.offers:
                client.answer()
        client.wait()
        told = {event.user_id: event.video_type for event in client.told}
        for key, track in client.tracks.items():
            if track.producers and key[2] in client.downlink.subscriptions.get((key[0], key[1]), ()):
                small = client.downlink.video_types.wanted.get((key[0], key[1])) == "small" and len(track.producers) > 1
                assert track.producers[-1 if small else 0] in client.receiving
                if key[2] == "video":
                    assert told.get(key[0], "big") == ("small" if small else "big")
        assert len(client.book.transports) <= 1
        client.downlink.close()
        assert client.book.transports == {}
        assert client.book.consumers == {}


DownlinkMachine.TestCase.settings = settings(max_examples=80, stateful_step_count=30, deadline=None)
TestDownlinkMachine = DownlinkMachine.TestCase
