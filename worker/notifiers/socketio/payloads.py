"""How packets are joined in the bodies of HTTP long-polling; Engine.IO 3 and 4 differ."""

import re
from collections.abc import Iterator, Sequence

_SEPARATOR = "\x1e"
_LENGTH = re.compile(r"(\d{1,9}):")


def join_packets(packets: Sequence[str], version: int) -> str:
    """Return the body of a request that carries these packets."""
    if version == 3:
        return "".join(f"{_units(packet)}:{packet}" for packet in packets)
    return _SEPARATOR.join(packets)


def split_packets(body: str, version: int) -> Iterator[str]:
    """Yield the packets of an answer, which may be millions. Raises ValueError when it cannot be read."""
    position = 0
    while version == 4 and (end := body.find(_SEPARATOR, position)) >= 0:
        yield body[position:end]
        position = end + 1
    if version == 4:
        yield body[position:]
        return
    while position < len(body):
        match = _LENGTH.match(body, position)
        if match is None:
            raise ValueError(f"not a payload of Engine.IO 3 at character {position}")
        end = _skip_units(body, match.end(), int(match[1]))
        yield body[match.end() : end]
        position = end


def _units(text: str) -> int:
    """Return the length in UTF-16 code units, as JavaScript counts."""
    return len(text) + sum(ord(char) > 0xFFFF for char in text)


def _skip_units(text: str, start: int, units: int) -> int:
    if units <= len(text) - start and max(text[start : start + units], default="") <= "\uffff":
        return start + units
    end = start
    while units > 0 and end < len(text):
        units -= 2 if ord(text[end]) > 0xFFFF else 1
        end += 1
    if units:
        raise ValueError("a payload of Engine.IO 3 ends within a packet")
    return end
