"""Errors of the hub."""


class MalformedPacket(Exception):
    """The bytes are not something a client may send. The text is for the log and, for some packets, for the client."""

    def __init__(self, text: str, log_text: str | None = None) -> None:
        """`log_text`: what the log says instead, when the client must not learn it."""
        super().__init__(text)
        self.log_text = text if log_text is None else log_text
