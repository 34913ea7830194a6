"""What the link writes to the service's log, and whether an operator can act on it."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from loguru import logger

from worker.observability.log_messages import Logs

if TYPE_CHECKING:
    from loguru import Message

_WHAT_TO_DO = re.compile(
    r"\b(set|check|start|correct|look|see|add|renew|is the server|are the credentials|raise)\b", re.IGNORECASE
)
_NOTHING_TO_DO = re.compile(
    r"will be sent again|notifications wait|from now on|the next attempt follows|acknowledgements confirm receipt again"
)
"""The link has taken care of it, and says how."""


@dataclass(frozen=True)
class Line:
    """One line of the log."""

    level: str
    text: str
    has_traceback: bool


def lines_of(events: Iterable[object]) -> list[Line]:
    """Return the lines that the service writes about these events."""
    lines: list[Line] = []

    def keep(message: "Message") -> None:
        record = message.record
        lines.append(Line(record["level"].name, record["message"], record["exception"] is not None))

    sink = logger.add(keep, level="DEBUG")
    try:
        logs = Logs()
        for event in events:
            logs(event)
    finally:
        logger.remove(sink)
    return lines


def assert_operators_can_act(events: Iterable[object]) -> list[Line]:
    """Each line is one line without a traceback; each warning and error says what to do, or what the link has done."""
    lines = lines_of(events)
    for line in lines:
        assert not line.has_traceback, line
        assert "\n" not in line.text, line
        assert "Traceback" not in line.text, line
        assert len(line.text.split()) >= 3, line
        if line.level in ("WARNING", "ERROR"):
            assert _WHAT_TO_DO.search(line.text) or _NOTHING_TO_DO.search(line.text), line
        if line.level == "ERROR":
            assert _WHAT_TO_DO.search(line.text), line
    return lines
