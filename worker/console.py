"""Where lines go and how they look: one stream, a level per category, three forms. Knows no event of ours."""

import logging
import os
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import IO, TYPE_CHECKING, Any

import orjson
from loguru import logger

from worker.redact import Redactor

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
"""The names of Microsoft.Extensions.Logging and loguru's."""

_SYSLOG = {"TRACE": 7, "DEBUG": 7, "INFO": 6, "SUCCESS": 5, "WARNING": 4, "ERROR": 3, "CRITICAL": 2}
_LONGEST_LINE = 32 * 1024
"""Bytes; journald splits lines over 48 KB."""
_LONGEST_VALUE = 2048
_FORBIDDEN = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def printable(text: str) -> str:
    """One safe line: control characters, escapes, direction marks and lone surrogates are spelled out, long values cut.

    A surrogate is a byte of a file's name that is no UTF-8; the stream would refuse the whole line for it.
    """
    if len(text) > _LONGEST_VALUE:
        text = text[:_LONGEST_VALUE] + "…"
    return _FORBIDDEN.sub(_spell, text)


def _spell(match: re.Match[str]) -> str:
    return {"\n": "\\n", "\r": "\\r", "\t": " "}.get(match[0], f"\\u{ord(match[0]):04x}")


@dataclass(frozen=True, slots=True)
class LogOptions:
    """How lines look and which are written."""

    formatter: str = "auto"
    """Simple, Json, Systemd; auto: Systemd when the stream is the journal, else Simple."""
    emoji: bool = True
    levels: Mapping[str, str] = field(default_factory=dict)
    """Category prefix → .NET level name; the longest prefix wins, Default for the rest."""
    environment: str = "Production"
    service: str = "insignia-worker"
    version: str = ""


def start_logging(options: LogOptions, redact: Redactor, stream: IO[str] | None = None) -> None:
    """Send every line of this process to one stream (stderr), also those of the libraries."""
    target = stream or sys.stderr
    formatter = options.formatter
    if formatter == "auto":
        formatter = "Systemd" if _is_journal(target) else "Simple"
    sink = _Sink(target, formatter, options, redact)
    logger.remove()
    # diagnose and backtrace print the values of variables, which may be secrets or people's data.
    logger.add(sink.write, level=0, filter=_Levels(options.levels), format="{message}", diagnose=False, backtrace=False)
    logging.basicConfig(handlers=[_Intercept()], level=logging.INFO, force=True)
    for noisy in ("socketio", "engineio", "aiohttp.access", "asyncio"):
        logging.getLogger(noisy).setLevel(logging.WARNING)  # they log payloads at INFO


def enabled(level: str, levels: Mapping[str, str], category: str = "worker") -> bool:
    """Whether lines of `level` (loguru's name) in `category` are written at all."""
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


class _Intercept(logging.Handler):
    """Lines of the standard library's logging go the same way."""

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

    stream: IO[str]
    formatter: str
    options: LogOptions
    redact: Redactor
    colour: bool = False

    def __post_init__(self) -> None:
        self.colour = self.formatter == "Simple" and self.stream.isatty() and "NO_COLOR" not in os.environ

    def write(self, message: "Message") -> None:
        record = message.record
        text = self._clean(record["message"])
        emoji = record["extra"].get("emoji", "")
        match self.formatter:
            case "Json":
                line = self._json(record, text, emoji)
            case "Systemd":
                line = f"<{_SYSLOG.get(record['level'].name, 6)}>{self._with_emoji(emoji, text)}"
            case _:
                line = self._simple(record, self._with_emoji(emoji, text))
        try:
            self.stream.write(line.encode()[:_LONGEST_LINE].decode(errors="ignore") + "\n")
            self.stream.flush()
        except (BrokenPipeError, ValueError):
            pass  # nobody reads our log any more: the jobs go on

    def _clean(self, text: str) -> str:
        """Redacted before it is cut, or half a secret could stay behind at the edge."""
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
        safe = {key: self._clean(value) if isinstance(value, str) else value for key, value in extra.items()}
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


def _is_journal(stream: IO[str]) -> bool:
    """systemd names the journal's socket as device:inode; any other stderr is a terminal, file or pipe."""
    try:
        stat = os.fstat(stream.fileno())
    except (OSError, ValueError, AttributeError):
        return False
    return os.environ.get("JOURNAL_STREAM") == f"{stat.st_dev}:{stat.st_ino}"
