"""How the client takes what a server may do to it. The server here is a script, on a real WebSocket."""

import asyncio
import contextlib
import json

import pytest
import websockets
from parlour.client import Client, RtcError, channel
from parlour.client.channel import websocket_url
from parlour.client.events import ConnectionChanged, Failed, PeerJoin, PeerLeave, StreamAdded
from parlour.errors import ErrorCode

LOGIN = {"ticket": "t", "ticketExpiresAt": 0, "serverVersion": "0", "heartbeatInterval": 30, "maxMessageBytes": 9999}
ANN = {"userId": "ann", "streamType": "main", "streamId": "1", "audio": True, "video": True}


def entered(members, streams=(), **more):
    snapshot = {"members": [{"userId": user} for user in members], "streams": list(streams)}
    return {"sessionId": "s", "resumeToken": "r", "resumeTimeout": 5, "snapshot": snapshot, **more}


class Script:
    """A server that answers requests from ``answers`` by type; a function gets the socket, None is silence."""

    def __init__(self, answers):
        self.answers = {"login": LOGIN, "enter": entered(["ann"], [ANN]), "leave": {}, "ping": {}} | answers
        self.requests = []
        self.sockets = []
        self.asked = asyncio.Condition()

    async def __aenter__(self):
        self.server = await websockets.serve(self.serve, "127.0.0.1", 0)
        port = self.server.sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        return self

    async def __aexit__(self, *_):
        self.server.close()
        await self.server.wait_closed()

    async def serve(self, socket):
        assert socket.request.path == "/v1/ws?v=1"
        self.sockets.append(socket)
        with contextlib.suppress(websockets.ConnectionClosed):
            async for text in socket:
                request = json.loads(text)
                answer = self.answers[request["type"]]
                if callable(answer):
                    answer = await answer(socket)
                if answer is not None:
                    key = "error" if "code" in answer else "ok"
                    await socket.send(json.dumps({"id": request["id"], key: answer}))
                async with self.asked:
                    self.requests.append(request)
                    self.asked.notify_all()

    async def wait_for(self, kind):
        async with asyncio.timeout(10), self.asked:
            await self.asked.wait_for(lambda: any(request["type"] == kind for request in self.requests))


async def until(client, matches):
    """The events up to the first that matches."""
    seen = []
    async with asyncio.timeout(10):
        async for event in client.events():
            seen.append(event)
            if matches(event):
                return seen
    raise AssertionError(f"it did not come: {seen}")


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://h:8080", "ws://h:8080/v1/ws?v=1"),
        ("https://h/", "wss://h/v1/ws?v=1"),
        ("wss://h/base", "wss://h/base/v1/ws?v=1"),
    ],
)
def test_the_address_of_the_signaling_channel(url, expected):
    assert websocket_url(url) == expected


@pytest.mark.parametrize("url", ["h:8080", "ftp://h", "http://", ""])
def test_what_is_no_address_is_refused(url):
    with pytest.raises(RtcError) as refused:
        websocket_url(url)
    assert refused.value.code == ErrorCode.INVALID_PARAMETER


async def test_nobody_there_is_0x4002(unused_tcp_port):
    with pytest.raises(RtcError, match="no signaling channel") as refused:
        await Client(f"http://127.0.0.1:{unused_tcp_port}", 1, "me", "sig").join(1)
    assert refused.value.code == ErrorCode.SIGNAL_CHANNEL_ERROR


async def test_a_refusal_comes_as_the_server_wrote_it_and_another_try_is_free():
    error = {
        "code": 0x4001,
        "key": "SIGNAL_CHANNEL_SETUP_FAILED",
        "message": "join failed: no (70009)",
        "extraCode": 70009,
    }
    async with Script({"login": error}) as server:
        client = Client(server.url, 1, "me", "sig")
        with pytest.raises(RtcError) as refused:
            await client.join(1)
        assert (refused.value.code, refused.value.extra_code) == (0x4001, 70009)
        assert refused.value.message == "join failed: no (70009)"
        server.answers["login"] = LOGIN
        await client.join("lobby")
        assert server.requests[-1]["stringRoom"] is True
        await client.leave()


async def test_the_snapshot_comes_before_what_happened_while_it_was_on_its_way():
    async def enter(socket):
        await socket.send(json.dumps({"type": "peer-join", "userId": "ben"}))
        return entered(["ann"], [ANN])

    async with Script({"enter": enter}) as server, Client(server.url, 1, "me", "sig") as client:
        await client.join(1)
        events = await until(client, lambda event: event == PeerJoin(user_id="ben"))
        names = [type(event).__name__ for event in events]
        assert names == ["ConnectionChanged", "PeerJoin", "StreamAdded", "PeerJoin"]
        assert list(client.room.members) == ["ann", "ben"]


async def test_calls_out_of_order_are_refused_here():
    async with Script({}) as server, Client(server.url, 1, "me", "sig") as client:
        with pytest.raises(RtcError, match="join first"):
            await client.subscribe("ann")
        await client.join(1)
        with pytest.raises(RtcError, match="leave first"):
            await client.join(2)
        with pytest.raises(RtcError, match="audio, video or both"):
            await client.publish(audio=False, video=None)


async def test_a_request_without_an_answer_ends_in_time(monkeypatch):
    monkeypatch.setattr(channel, "REQUEST_TIMEOUT", 0.1)
    async with Script({"enter": None}) as server:
        with pytest.raises(RtcError, match="enter was not answered") as refused:
            await Client(server.url, 1, "me", "sig").join(1)
        assert refused.value.code == ErrorCode.API_CALL_TIMEOUT


async def test_silence_is_broken_by_a_ping():
    login = LOGIN | {"heartbeatInterval": 0.05}
    async with Script({"login": login}) as server, Client(server.url, 1, "me", "sig") as client:
        await client.join(1)
        await server.wait_for("ping")


async def test_a_lost_socket_is_taken_up_again_and_the_difference_told():
    resumed = entered(["ann", "cat"], [ANN], published=[], subscriptions=[])
    async with Script({"resume": resumed}) as server, Client(server.url, 1, "me", "sig") as client:
        await client.join(1)
        await until(client, lambda event: isinstance(event, StreamAdded))
        server.sockets[0].transport.abort()
        events = await until(client, lambda event: event == ConnectionChanged("connected"))
        assert events == [ConnectionChanged("reconnecting"), PeerJoin(user_id="cat"), ConnectionChanged("connected")]
        assert server.requests[-1]["resumeToken"] == "r"
        await server.sockets[1].send(json.dumps({"type": "peer-leave", "userId": "cat"}))
        await until(client, lambda event: event == PeerLeave(user_id="cat"))


async def test_a_session_that_is_over_fails_with_0x4006():
    error = {"code": 0x4001, "key": "K", "message": "expired", "extraCode": 70221}
    async with Script({"resume": error}) as server, Client(server.url, 1, "me", "sig") as client:
        await client.join(1)
        server.sockets[0].transport.abort()
        events = await until(client, lambda event: event == ConnectionChanged("disconnected"))
        (failed,) = [event for event in events if isinstance(event, Failed)]
        assert failed.error.code == ErrorCode.SIGNAL_CHANNEL_RECONNECTION_FAILED
        assert "expired" in failed.error.message
        assert not client.joined


@pytest.mark.parametrize(("code", "failures"), [(4409, 0), (4400, 1), (1009, 1)])
async def test_a_final_close_code_ends_the_session(code, failures):
    async with Script({}) as server, Client(server.url, 1, "me", "sig") as client:
        await client.join(1)
        await server.sockets[0].close(code, "why")
        events = await until(client, lambda event: event == ConnectionChanged("disconnected"))
        assert sum(isinstance(event, Failed) for event in events) == failures


@pytest.mark.parametrize("garbage", ["nonsense", "[]", '{"type": "unheard-of"}', '{"id": "x"}', '{"type": 5}'])
async def test_what_is_not_the_protocol_ends_the_session(garbage):
    async with Script({}) as server, Client(server.url, 1, "me", "sig") as client:
        await client.join(1)
        await server.sockets[0].send(garbage)
        events = await until(client, lambda event: event == ConnectionChanged("disconnected"))
        assert any(isinstance(event, Failed) and "not the protocol" in event.error.message for event in events)
