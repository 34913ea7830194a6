"""Writes log lines to one stream in one of three forms, with a level for each category."""

import logging
import os
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Protocol

import orjson
from loguru import logger

from worker.core.redact import Redactor
from worker.observability.journal import PRIORITIES, is_journal

if TYPE_CHECKING:
    from loguru import Message, Record

LEVELS: Mapping[str, str] = {
    "Trace": "TRACE",
    "Debug": "DEBUG",
    "Information": "INFO",
    "Warning": "WARNING",
    "Error": "ERROR",
    "Critical": "CRITICAL",
    "None": "OFF",
}
"""From the level names of Microsoft.Extensions.Logging to loguru's."""

_LONGEST_LINE = 32 * 1024
"""Bytes; journald splits lines over 48 KB."""
_LONGEST_VALUE = 2048
_FORBIDDEN = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def printable(text: str) -> str:
    """Return the text as one safe line: control characters and lone surrogates are escaped, long texts are cut.

    A lone surrogate represents a byte of a file name that is not UTF-8; the stream would reject the whole line.
    """
    if len(text) > _LONGEST_VALUE:
        text = text[:_LONGEST_VALUE] + "…"
    return _FORBIDDEN.sub(_escape, text)


def _escape(match: re.Match[str]) -> str:
    return {"\n": "\\n", "\r": "\\r", "\t": " "}.get(match[0], f"\\u{ord(match[0]):04x}")


@dataclass(frozen=True, slots=True)
class LogOptions:
    """The form of lines, and which are written."""

    formatter: str = "auto"
    """Simple, Json, Systemd; auto: Systemd when the stream is the journal, else Simple."""
    emoji: bool = True
    levels: Mapping[str, str] = field(default_factory=dict)
    """Category prefix → .NET level name; the longest prefix wins, Default for the rest."""
    environment: str = "Production"
    service: str = "insignia-worker"
    version: str = ""


class LineStream(Protocol):
    """What log lines are written to, as `sys.stderr` or a LogWriter."""

    def write(self, line: str, /) -> int: ...
    def flush(self) -> None: ...
    def fileno(self) -> int: ...
    def isatty(self) -> bool: ...


def start_logging(options: LogOptions, redact: Redactor, stream: LineStream | None = None) -> None:
    """Write every line of this process to one stream (stderr by default), those of libraries included."""
    target = stream or sys.stderr
    formatter = options.formatter
    if formatter == "auto":
        formatter = "Systemd" if is_journal(target) else "Simple"
    sink = _Sink(target, formatter, options, redact)
    logger.remove()
    # diagnose and backtrace print values of variables, which may be secrets or personal data.
    logger.add(sink.write, level=0, filter=_Levels(options.levels), format="{message}", diagnose=False, backtrace=False)
    logging.basicConfig(handlers=[_LibraryHandler()], level=logging.INFO, force=True)
    for noisy in ("socketio", "engineio", "aiohttp.access", "asyncio"):
        logging.getLogger(noisy).setLevel(logging.WARNING)  # they log payloads at INFO


def report_dropped_lines(count: int) -> None:
    """Log that lines are missing, once lines can be written again."""
    text = f"{count:,} log lines were dropped, because the reader of the log had stalled or could not write them"
    logger.bind(category="worker.log", event="log_lines_dropped", emoji="⚠️", count=count).warning("{}", text)


def enabled(level: str, levels: Mapping[str, str], category: str = "worker") -> bool:
    """Whether lines of `level` (loguru's name) in `category` are written."""
    threshold = _Levels(levels).threshold(category)
    return threshold is not None and logger.level(level).no >= threshold


class _Levels:
    """A filter with .NET's rule: the longest category prefix decides."""

    def __init__(self, levels: Mapping[str, str]) -> None:
        names = {"default": "Information", **{key.lower(): value for key, value in levels.items()}}
        self._thresholds = {key: self._number(name) for key, name in names.items()}
        self._known: dict[str, int | None] = {}

    @staticmethod
    def _number(name: str) -> int | None:
        level = LEVELS[name]
        return None if level == "OFF" else logger.level(level).no

    def threshold(self, category: str) -> int | None:
        if category not in self._known:
            parts = category.lower().split(".")
            prefixes = [".".join(parts[:size]) for size in range(len(parts), 0, -1)]
            found = next((prefix for prefix in prefixes if prefix in self._thresholds), "default")
            self._known[category] = self._thresholds[found]
        return self._known[category]

    def __call__(self, record: "Record") -> bool:
        threshold = self.threshold(record["extra"].get("category") or record["name"] or "worker")
        return threshold is not None and record["level"].no >= threshold


class _LibraryHandler(logging.Handler):
    """Passes lines of the standard library's logging to loguru."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            level: str | int = logger.level(record.levelname).name
        except ValueError:
            level = record.levelno
        text = record.getMessage()
        if record.exc_info and record.exc_info[1] is not None:
            text += f" ({type(record.exc_info[1]).__name__}: {record.exc_info[1]})"
        logger.bind(category=record.name, event="library").log(level, "{}", text)


@dataclass(slots=True)
class _Sink:
    """Writes one line per record in the chosen form."""

    stream: LineStream
    formatter: str
    options: LogOptions
    redact: Redactor
    colour: bool = False

    def __post_init__(self) -> None:
        self.colour = self.formatter == "Simple" and self.stream.isatty() and "NO_COLOR" not in os.environ

    def write(self, message: "Message") -> None:
        record = message.record
        text = self._sanitize(record["message"])
        emoji = record["extra"].get("emoji", "")
        match self.formatter:
            case "Json":
                line = self._json(record, text, emoji)
            case "Systemd":
                line = f"<{PRIORITIES.get(record['level'].name, 6)}>{self._with_emoji(emoji, text)}"
            case _:
                line = self._simple(record, self._with_emoji(emoji, text))
        try:
            self.stream.write(line.encode()[:_LONGEST_LINE].decode(errors="ignore") + "\n")
            self.stream.flush()
        except (OSError, ValueError):
            pass  # the reader of the log has gone, or its disk is full; jobs go on

    def _sanitize(self, text: str) -> str:
        """Redact, then cut: the other way round, half of a secret could remain at the cut."""
        return printable(self.redact(text))

    def _with_emoji(self, emoji: str, text: str) -> str:
        return f"{emoji} {text}" if emoji and self.options.emoji else text

    def _simple(self, record: "Record", text: str) -> str:
        stamp = record["time"].strftime("%H:%M:%S.%f")[:-3]
        level = record["level"].name
        if not self.colour:
            return f"{stamp} {level:<8} {text}"
        shade = {"WARNING": "33", "ERROR": "31", "CRITICAL": "1;31", "SUCCESS": "32"}.get(level, "0")
        return f"\x1b[2m{stamp}\x1b[0m \x1b[{shade}m{text}\x1b[0m"

    def _json(self, record: "Record", text: str, emoji: str) -> str:
        extra = {key: value for key, value in record["extra"].items() if key not in ("emoji", "category")}
        safe = {key: self._sanitize(value) if isinstance(value, str) else value for key, value in extra.items()}
        moment = datetime.fromtimestamp(record["time"].timestamp(), UTC)
        flat: dict[str, Any] = {
            "ts": moment.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record["level"].name,
            "event": safe.pop("event", "log"),
            "emoji": emoji if self.options.emoji else "",
            "msg": text,
            "service": self.options.service,
            "version": self.options.version,
            "env": self.options.environment,
            "logger": record["extra"].get("category") or record["name"],
            "pid": record["process"].id,
            **safe,
        }
        return orjson.dumps(flat, default=str).decode()
