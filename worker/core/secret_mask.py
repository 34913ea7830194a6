r"""Masks known secrets in a text in the spellings that servers and programs echo them in. Standard library only.

A secret is found verbatim, with the escapes of JSON and programming languages (`\/`, `\u0041`, `\x41`, `\U00000041`),
percent-encoded, with HTML entities, in any mixture of these and repeatedly encoded, in Base64, in Base32, in
hexadecimal digits, or as a list of decimal numbers; also in quoted-printable, over several lines, in UTF-16 that was
read as UTF-8, and in UTF-8 that was read as Latin-1. A secret in Base64 of Base64 is not found.
"""

import base64
import binascii
import functools
import itertools
import re
from collections.abc import Iterable, Iterator

from worker.core.decoded_layers import layers

MASK = "***"
SHORTEST = 4
"""Characters; shorter values occur in ordinary text."""
_SHORTEST_LINE = 8
_SHORTEST_CODE = 8
"""Characters of a Base64 or Base32 text that identify a secret."""
_USERINFO = re.compile(r"[a-z0-9+.-]+://[^:/?#\s]*:([^/?#\s]+)@")
_DUMPS = (
    re.compile("(?:[0-9a-fA-F][ :,-]?)++"),
    re.compile(r"(?:[0-9a-fA-F]{2}[ :,-]?)?+(?:,?\s?0x(?:[0-9a-fA-F]{2})++[ :,-]?)++"),
)
"""Hexadecimal bytes stand together, or one by one as in dumps and fingerprints; or each has `0x` before it.

A run is matched whole, however short: one that had to be as long as a secret would be tried again from each character.
"""
_DIGIT = re.compile("0x|([0-9a-fA-F])")
_BASE32 = re.compile("[A-Za-z2-7]++")
_CODE_BEFORE = re.compile(r"[\w+/-]{0,3}\Z", re.ASCII)
_CODE_AFTER = re.compile(r"[\w+/-]{0,3}={0,2}", re.ASCII)
"""The characters of Base64 beside a code that have only a part of a byte, or fill the last group."""
_NUMBERS = re.compile(r"[0-9]{1,5}(?:\s{0,2},\s{0,16}-?[0-9]{1,5}|\s{1,16}-?[0-9]{1,5}){3,}")
"""How programs print bytes, with or without a sign, and the characters of a text; indented JSON has a line for each."""
_NUMBER = re.compile("-?[0-9]+")
_ENCODED_CHAR = 2 + 1 + 16 + 6
"""Most characters that one byte of a secret takes: in a list of numbers with a sign, or when it is encoded twice."""


class SecretMask:
    """Replaces every secret in a text by `***`."""

    def __init__(self, secrets: Iterable[str]) -> None:
        known = {part for secret in secrets for part in _parts(secret) if len(part) >= SHORTEST}
        # The longest first: if a shorter one is its beginning, the rest of it would remain.
        self._plain = sorted(known.union(*map(_misread, known)), key=len, reverse=True)
        self._numbered = {text for secret in known for text in (secret, _as_characters(secret))}
        self._codes = sorted({code for secret in known for code in _codes(secret)}, key=len, reverse=True)
        self._base32 = sorted({code for secret in known for code in _base32_codes(secret)}, key=len, reverse=True)
        self._shortest_base32 = min(map(len, self._base32), default=0)
        self._dumped = [secret.encode("utf-8", "surrogatepass").hex() for secret in known]
        self._shortest_dump = min(map(len, self._dumped), default=0)
        self.margin = _ENCODED_CHAR * max((len(one.encode("utf-8", "replace")) for one in known), default=0)
        """How much text beyond a cut decides whether a secret lies across it."""

    def __call__(self, text: str, start: int = 0, end: int | None = None) -> str:
        """Return the part of the text from start to end; a secret that lies partly outside of it is masked as well."""
        end = len(text) if end is None else end
        pieces = []
        for first, last in self._spans(text):
            if last <= start or first >= end:
                continue
            pieces += [text[start:first], MASK]
            start = last
        return "".join([*pieces, text[start:end]])

    def _spans(self, text: str) -> Iterator[tuple[int, int]]:
        """Yield where secrets are, in order and without overlaps."""
        found: list[tuple[int, int]] = []
        for layer in layers(text):
            for spans in (self._verbatim, self._in_base64, self._in_base32, self._dumps, self._numbers):
                found += [layer.original(*span) for span in spans(layer.text)]
        if not found:
            return
        start, end = min(found)
        for first, last in sorted(found):
            if first >= end:
                yield start, end
                start = first
            end = max(end, last)
        yield start, end

    def _verbatim(self, text: str) -> Iterator[tuple[int, int]]:
        for secret in self._plain:
            for at in _places(secret, text):
                yield at, at + len(secret)

    def _in_base64(self, text: str) -> Iterator[tuple[int, int]]:
        """Yield where secrets are in Base64, with the characters that have only a part of a byte."""
        for code in self._codes:
            for at in _places(code, text):
                before = _CODE_BEFORE.search(text, max(0, at - 3), at)
                after = _CODE_AFTER.match(text, at + len(code))
                yield before.start() if before else at, after.end() if after else at + len(code)

    def _in_base32(self, text: str) -> Iterator[tuple[int, int]]:
        """Yield where secrets are in Base32 of either case, with the characters that have only a part of a byte."""
        for match in _BASE32.finditer(text) if self._base32 else ():
            start, end = match.span()
            if end - start < self._shortest_base32:
                continue
            run = match[0].upper()
            for code in self._base32:
                for at in _places(code, run):
                    yield max(start + at - 1, start), min(start + at + len(code) + 1, end)

    def _dumps(self, text: str) -> Iterator[tuple[int, int]]:
        """Yield where secrets are in hexadecimal digits of either case."""
        patterns = _DUMPS if self._dumped else ()
        for match in itertools.chain.from_iterable(pattern.finditer(text) for pattern in patterns):
            start, end = match.span()
            if end - start < self._shortest_dump:
                continue
            at = [digit.start() for digit in _DIGIT.finditer(text, start, end) if digit[1]]
            digits = "".join([text[index] for index in at]).lower()
            for secret in self._dumped:
                for first in _places(secret, digits):
                    yield at[first], at[first + len(secret) - 1] + 1

    def _numbers(self, text: str) -> Iterator[tuple[int, int]]:
        """Yield where secrets are in lists of numbers, each of which is a byte or a character."""
        for match in _NUMBERS.finditer(text) if self._numbered else ():
            first = match.start() - text.startswith("-", max(0, match.start() - 1))
            at = [number.span() for number in _NUMBER.finditer(text, first, match.end())]
            values = [int(text[first:last]) for first, last in at]
            characters = "".join(chr(value if value >= 0 else value % 256) for value in values)
            for secret in self._numbered:
                for first in _places(secret, characters):
                    yield at[first][0], at[first + len(secret) - 1][1]


@functools.lru_cache(maxsize=16)
def mask_for(secrets: frozenset[str]) -> SecretMask:
    """Return the mask of these secrets; a mask is built once."""
    return SecretMask(secrets)


def _places(part: str, text: str) -> Iterator[int]:
    """Yield where the part is in the text, without overlaps; a pattern would start over from every character."""
    at = text.find(part)
    while at >= 0:
        yield at
        at = text.find(part, at + len(part))


def _parts(secret: str) -> Iterator[str]:
    """Yield the texts that reveal a secret: the value, its credentials without their scheme, its long lines."""
    yield secret
    scheme, _, credentials = secret.partition(" ")
    if scheme.lower() in ("bearer", "basic", "token", "apikey", "digest"):
        yield credentials.strip()
    if scheme.lower() == "basic":
        try:
            pair = base64.b64decode(credentials.strip(), validate=True).decode()
        except (binascii.Error, UnicodeDecodeError):
            pair = ""
        yield from (pair, pair.partition(":")[2])
    if (userinfo := _USERINFO.match(secret)) is not None:
        # Messages of a driver name the password alone, and not as the URL encodes it.
        yield userinfo[1]
        yield from (layer.text for layer in layers(userinfo[1]))
    if "\n" in secret.strip():
        lines = map(str.strip, secret.splitlines())
        yield from (line for line in lines if len(line) >= _SHORTEST_LINE and not line.startswith("-----"))


def _codes(secret: str) -> Iterator[str]:
    """Yield the characters that the secret has in Base64 at each of the three offsets, in UTF-8 and in UTF-16."""
    wide = secret.encode("utf-16-le", "surrogatepass")
    # Of ASCII, both byte orders are the same bytes but for a zero at the beginning or the end.
    wides = (wide[:-1],) if secret.isascii() else (wide, secret.encode("utf-16-be", "surrogatepass"))
    for data in (secret.encode("utf-8", "surrogatepass"), *wides):
        for offset in range(3):
            encoded = base64.b64encode(b"\0" * offset + data)
            first = -(-offset * 4 // 3)
            last = (offset + len(data)) * 8 // 6
            code = encoded[first:last].decode()
            if len(code) >= _SHORTEST_CODE:
                yield from {code, code.replace("+", "-").replace("/", "_")}


def _base32_codes(secret: str) -> Iterator[str]:
    """Yield the characters that the secret has in Base32 at each of the five offsets."""
    data = secret.encode("utf-8", "surrogatepass")
    for offset in range(5):
        code = base64.b32encode(b"\0" * offset + data)[-(-offset * 8 // 5) : (offset + len(data)) * 8 // 5].decode()
        if len(code) >= _SHORTEST_CODE:
            yield code


def _as_characters(secret: str) -> str:
    """Return the bytes of the secret, each as the character of that number."""
    return secret.encode("utf-8", "surrogatepass").decode("latin-1")


def _misread(secret: str) -> Iterator[str]:
    """Yield the secret as it reads when its UTF-8 is taken for one of the encodings of Western Europe."""
    if not secret.isascii():
        yield _as_characters(secret)
        yield secret.encode("utf-8", "surrogatepass").decode("cp1252", "replace")
