"""Decodes the escapes in a text layer by layer, and knows where each decoded character came from. Pure."""

import html
import re
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence

_DEEPEST = 4
_MOST_LAYERS = 16
"""Limits of decoding, so that a text cannot make it take long."""
_NAMED = {"n": "\n", "r": "\r", "t": "\t", "b": "\b", "f": "\f"}
_ESCAPES = (
    # Escapes of JSON and of most programming languages; two surrogates are one character.
    re.compile(
        r"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|\\u[0-9a-fA-F]{4}"
        r"|\\U00[01][0-9a-fA-F]{5}|\\u\{[0-9a-fA-F]{1,6}\}"
        r"|\\x[cdCD][0-9a-fA-F]\\x[89abAB][0-9a-fA-F]|\\x[eE][0-9a-fA-F](?:\\x[89abAB][0-9a-fA-F]){2}"
        r"|\\x[fF][0-7](?:\\x[89abAB][0-9a-fA-F]){3}|\\x[0-9a-fA-F]{2}"
        r"|\\3[0-3][0-7]\\2[0-7]{2}|\\34[0-7](?:\\2[0-7]{2}){2}|\\35[0-7](?:\\2[0-7]{2}){2}|\\36[0-7](?:\\2[0-7]{2}){3}"
        r"|\\[0-3][0-7]{2}|\\.",
        re.DOTALL,
    ),
    # Percent-encoding; all bytes of one UTF-8 character together.
    re.compile(
        r"%[cdCD][0-9a-fA-F]%[89abAB][0-9a-fA-F]|%[eE][0-9a-fA-F](?:%[89abAB][0-9a-fA-F]){2}"
        r"|%[fF][0-7](?:%[89abAB][0-9a-fA-F]){3}|%[0-9a-fA-F]{2}|%u[0-9a-fA-F]{4}"
    ),
    re.compile(r"&(?:#\d{1,8};?|#[xX][0-9a-fA-F]{1,7};?|[a-zA-Z]{2,8};)"),
    re.compile(r"\+"),  # a space in a form
)
_TRANSPORT = (
    # A long text that was wrapped, as Base64 is in mails and by the program base64: the break and what follows.
    re.compile(r"\r?\n[ \t]{0,8}(\S)"),
    # UTF-16 and UTF-32 that were read as UTF-8.
    re.compile(r"(?<!\x00)\x00{1,3}([^\x00])|([^\x00])\x00{1,3}"),
    # Quoted-printable, with its line breaks.
    re.compile(
        r"(?:=\r?\n)?(?:=[cdCD][0-9a-fA-F]=[89abAB][0-9a-fA-F]|=[eE][0-9a-fA-F](?:=[89abAB][0-9a-fA-F]){2}"
        r"|=[fF][0-7](?:=[89abAB][0-9a-fA-F]){3}|=[0-9a-fA-F]{2})|=\r?\n([^=\r\n])"
    ),
)
"""Each match takes a bounded number of characters, and decodes to one."""


class Layer:
    """A text with one kind of escape decoded, and the layer that it was decoded from."""

    # Not a dataclass: the supervisor of a program imports this module, and dataclasses would double its start time.
    __slots__ = ("_at", "_source", "_spans", "text")

    def __init__(
        self, text: str, source: "Layer | None" = None, at: Sequence[int] = (), spans: Sequence[tuple[int, int]] = ()
    ) -> None:
        """`at`: where the decoded characters are in the text, in order; `spans`: their escapes in the source's text."""
        self.text = text
        self._source, self._at, self._spans = source, at, spans

    def original(self, first: int, last: int) -> tuple[int, int]:
        """Return where the characters from first to last (exclusive, not empty) are in the text of the first layer."""
        if self._source is None:
            return first, last
        return self._source.original(self._span(first)[0], self._span(last - 1)[1])

    def _span(self, index: int) -> tuple[int, int]:
        before = bisect_right(self._at, index) - 1
        if before < 0:
            return index, index + 1
        if self._at[before] == index:
            return self._spans[before]
        start = self._spans[before][1] + index - self._at[before] - 1
        return start, start + 1


def layers(text: str) -> Iterator[Layer]:
    """Yield the text, and what its escapes decode to in every order of their kinds, within limits.

    What transports do to a text is undone for the text itself and for the one in a JSON string.
    """
    seen = {text}
    first = Layer(text)
    yield first
    yield from _further([first], seen, _DEEPEST, _MOST_LAYERS)
    for base in (first, _decoded(first, _ESCAPES[0], _DECODERS[0])) if "\\" in text else (first,):
        for mark, transport, decode in zip("\n\0=", _TRANSPORT, _TRANSPORT_DECODERS, strict=True):
            if mark in base.text and (one := _decoded(base, transport, decode)).text not in seen:
                seen.add(one.text)
                yield one
                yield from _further([one], seen, 1, len(seen) + len(_ESCAPES))


def _further(current: "list[Layer]", seen: set[str], levels: int, most: int) -> Iterator[Layer]:
    """Yield what the layers decode to; `seen` has the texts that were found before, at most `most` in the end."""
    for _ in range(levels):
        following = []
        for layer in current:
            for escapes, decode in zip(_ESCAPES, _DECODERS, strict=True):
                if len(seen) < most and (one := _decoded(layer, escapes, decode)).text not in seen:
                    seen.add(one.text)
                    following.append(one)
                    yield one
        current = following


def _decoded(layer: Layer, escapes: re.Pattern[str], decode: Callable[[str], str]) -> Layer:
    pieces: list[str] = []
    at: list[int] = []
    spans: list[tuple[int, int]] = []
    size = done = 0
    for match in escapes.finditer(layer.text):
        first, last = match.span()
        size += first - done
        pieces += (layer.text[done:first], decode(match[0]))
        at.append(size)
        spans.append((match.start(match.lastindex or 0), last))  # without the line break before it
        size, done = size + 1, last
    return Layer("".join(pieces) + layer.text[done:], layer, at, spans)


def _decode_backslash(escape: str) -> str:
    if escape[1] == "x" and len(escape) > 2:
        return _utf8(escape.replace("\\x", ""))
    if escape[1] in "0123" and len(escape) > 2:
        octal = [int(digits, 8) for digits in escape[1:].split("\\")]
        return chr(octal[0]) if len(octal) == 1 else _utf8(bytes(octal).hex())
    if (escape[1] == "U" and len(escape) == 10) or escape[1:3] == "u{":
        number = int(escape[2:].strip("{}"), 16)
        return chr(number) if number < 0x110000 else "\ufffd"
    if len(escape) == 12:
        high, low = int(escape[2:6], 16), int(escape[8:], 16)
        return chr(0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00))
    if len(escape) == 6:
        return chr(int(escape[2:], 16))
    return _NAMED.get(escape[1], escape[1])


def _decode_percent(escape: str) -> str:
    return chr(int(escape[2:], 16)) if escape[1] == "u" else _utf8(escape.replace("%", ""))


def _decode_quoted_printable(escape: str) -> str:
    code = escape.replace("=\r\n", "").replace("=\n", "")
    return _utf8(code.replace("=", "")) if code[0] == "=" else code


def _utf8(digits: str) -> str:
    text = bytes.fromhex(digits).decode("utf-8", "replace")
    return text if len(text) == 1 else "\ufffd"


def _decode_entity(escape: str) -> str:
    text = html.unescape(escape)
    return text if len(text) == 1 else "\ufffd"


_DECODERS = (_decode_backslash, _decode_percent, _decode_entity, lambda _: " ")
_TRANSPORT_DECODERS = (lambda text: text[-1], lambda text: text.strip("\0"), _decode_quoted_printable)
