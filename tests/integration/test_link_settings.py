"""New settings for a link that runs: they hold from the next attempt on."""

from tests.support.notifiers import fast_settings, running_notifier
from tests.support.socketio_server import socketio_server
from worker.notifiers.socketio.events import Connect, Reconnect, ReconnectAttempt


async def test_apply_uses_the_new_token_and_headers_at_the_next_attempt() -> None:
    async with socketio_server() as server, running_notifier(fast_settings(server.url, token="first")) as link:
        await link.events.one(Connect)
        link.notifier.apply(fast_settings(server.url, token="second", headers={"X-Office": "7"}))
        link.notifier.reconnect()
        await link.events.one(Reconnect)
        assert [auth["token"] for auth in server.auths] == ["first", "second"]
        assert server.headers[-1]["X-Office"] == "7"


async def test_apply_counts_attempts_against_the_new_limit() -> None:
    async with running_notifier(fast_settings("http://127.0.0.1:9", reconnection_attempts=0)) as link:
        link.notifier.apply(fast_settings("http://127.0.0.1:9", reconnection_attempts=3))
        attempt = await link.events.one(ReconnectAttempt)
        assert (attempt.attempt, attempt.of) == (1, 3)
