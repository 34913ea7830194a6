"""What a port still serves when its caps are reached: probes, and callers who send an administrator's key.

Decided from the bytes of the request's headers, before anything is created for it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

_KEY_HEADERS: Final = (b"authorization", b"x-api-key")
_BEARER: Final = b"bearer "


class ServedBeyondCaps(Enum):
    """Why a request is served although a cap is reached."""

    PROBE = auto()
    ADMIN = auto()


@dataclass(frozen=True, slots=True)
class Reserve:
    """The requests for which there is always room."""

    probe_paths: frozenset[str]
    is_admin_key: Callable[[str], bool]
    probes: int = 64
    """Connections beyond the caps that have sent a probe's request; the oldest makes room."""
    silent: int = 1_024
    """Connections beyond the caps that have sent no request yet; the oldest makes room.

    A probe must send its request before this many others connect: 1 s in a flood of 1,000 connections a second.
    """

    def admits(self, head: bytes) -> ServedBeyondCaps | None:
        """Return why the request with these headers is served; None: it is not."""
        request_line, *lines = head.partition(b"\r\n\r\n")[0].split(b"\r\n")
        method, _, rest = request_line.partition(b" ")
        target = rest.partition(b" ")[0].partition(b"?")[0]
        if method in (b"GET", b"HEAD") and target.decode("latin-1") in self.probe_paths:
            return ServedBeyondCaps.PROBE
        for line in lines:
            name, _, value = line.partition(b":")
            if name.lower() in _KEY_HEADERS:
                value = value.strip()
                key = value[len(_BEARER) :].strip() if value[: len(_BEARER)].lower() == _BEARER else value
                if key and self.is_admin_key(key.decode("utf-8", "replace")):
                    return ServedBeyondCaps.ADMIN
        return None
