"""How often the server is pinged while nothing else is read, and what sessions that are cut in silence teach about it.

Knows no socket and no clock. Seconds.
"""

from worker.notifiers.socketio.server_capabilities import ServerCapabilities

_SHORTEST = 0.25
"""The shortest interval that is learned: what is cut sooner is not cut for its silence."""
_SIMILAR = 1.25
"""Two silences are alike if the longer is at most so many times the shorter."""


class KeepAlive:
    """The keep-alive of the sessions with one server."""

    def __init__(self, configured: float, server: ServerCapabilities) -> None:
        self.patience = configured
        """How long a ping may stay unanswered."""
        self._server = server

    @property
    def interval(self) -> float:
        """After so long without a frame the server is pinged."""
        return min(self.patience, self._server.keep_alive or self.patience)

    def on_cut(self, silence: float) -> str | None:
        """The connection broke, without a close frame, after so long without a frame from the server.

        Return what operators should know once the interval was shortened: two sessions in a row were cut after the
        same silence, so a proxy or the server cuts idle connections, and pinging more often prevents it.
        """
        previous, self._server.last_silence = self._server.last_silence, silence
        if previous is None or min(previous, silence) < 2 * _SHORTEST:
            return None
        shorter, longer = sorted((previous, silence))
        if longer > _SIMILAR * shorter or shorter / 2 >= self.interval:
            return None
        self._server.keep_alive = shorter / 2
        return (
            f"sessions are cut after {shorter:.1f} s of silence, by the server or a proxy: from now on it is pinged "
            f"every {shorter / 2:.1f} s; an idle timeout (nginx: proxy_read_timeout) longer than WebSocket:KeepAlive "
            "avoids this"
        )

    def on_other_end(self) -> None:
        """A session ended for another reason."""
        self._server.last_silence = None
