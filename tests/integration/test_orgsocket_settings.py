"""New settings for a link that runs: they hold from the next attempt on."""

from tests.support.channels import quick, running
from tests.support.socketio_server import socketio_server
from worker.orgsocket.link import Connect, Reconnect, ReconnectAttempt


async def test_the_next_attempt_brings_the_new_token_and_headers() -> None:
    async with socketio_server() as server, running(quick(server.url, token="first")) as link:
        await link.events.one(Connect)
        link.channel.adopt(quick(server.url, token="second", headers={"X-Office": "7"}))
        link.channel.reconnect()
        await link.events.one(Reconnect)
        assert [auth["token"] for auth in server.auths] == ["first", "second"]
        assert server.headers[-1]["X-Office"] == "7"


async def test_attempts_are_counted_by_the_new_limit() -> None:
    async with running(quick("http://127.0.0.1:9", reconnection_attempts=0)) as link:
        link.channel.adopt(quick("http://127.0.0.1:9", reconnection_attempts=3))
        attempt = await link.events.one(ReconnectAttempt)
        assert (attempt.attempt, attempt.of) == (1, 3)
