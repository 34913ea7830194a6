"""The fuzz targets: functions that feed bytes to a parser and fail if it does anything but accept or reject them.

A target asserts what must hold for every input, besides that only the parser's own errors are raised.
"""

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import cast

CORPUS = Path(__file__).parent / "corpus"
FOUND = Path("build/fuzz")
"""New inputs that reach new branches, and those that fail."""


@dataclass(frozen=True, slots=True)
class Target:
    """One parser."""

    module: str
    """The module of this folder that has the function."""
    function: str
    instrumented: tuple[str, ...]
    """The modules whose branches guide the fuzzer; instrumenting takes seconds, so the fewest that are needed."""
    max_bytes: int = 4096
    """The longest input; longer ones are slower and seldom find more."""

    def load(self) -> Callable[[bytes], None]:
        """Import the function."""
        module = importlib.import_module(f"tests.fuzz.{self.module}")
        return cast(Callable[[bytes], None], getattr(module, self.function))


def _hub(function: str, *modules: str, max_bytes: int = 4096) -> Target:
    return Target("hub_targets", function, modules, max_bytes)


def _http(function: str, *modules: str, max_bytes: int = 4096) -> Target:
    return Target("http_targets", function, modules, max_bytes)


def _roster(function: str, max_bytes: int) -> Target:
    return Target("roster_targets", function, ("worker.insignia.roster",), max_bytes)


TARGETS = {
    "frames": _hub("frames", "worker.net.frame_reader"),
    "close_frames": _hub("close_frames", "worker.net.frame_reader", max_bytes=200),
    "engine_io_4": _hub("engine_io_4", "worker.hub.engineio", "worker.hub.socketio.packets"),
    "engine_io_3": _hub("engine_io_3", "worker.hub.engineio", "worker.hub.socketio.packets"),
    "socket_io": _hub("socket_io", "worker.hub.socketio.packets"),
    "native": _hub("native", "worker.hub.native", "worker.hub.socketio.packets"),
    "link": _hub("link", "worker.notifiers.socketio"),
    "jwt": _hub("token", "worker.hub.tokens", "config.user_id", "jwt"),
    "json_limits": _http("json_limits", "worker.net.json_limits"),
    "json_body": _http("json_body", "worker.api.request_body", "worker.net.json_limits", "config.json_text"),
    "multipart": _http("multipart", "worker.api.routes.uploads", "aiohttp.multipart"),
    "forwarded": _http("forwarded", "worker.net.client_address", max_bytes=1024),
    "roster_csv": _roster("text", 8192),
    "roster_json": _roster("text", 8192),
    "roster_markup": _roster("text", 8192),
    "roster_xlsx": _roster("xlsx", 12_000),
    "roster_ods": _roster("ods", 12_000),
    "roster_xls": _roster("xls", 24_000),
    "upload_check": _roster("upload_check", 4096),
}
