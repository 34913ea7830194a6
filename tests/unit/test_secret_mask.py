"""Known secrets are masked in every spelling in which a server or a program may echo them."""

import base64
import html
import json
import quopri
import re
import time
from urllib.parse import quote, quote_plus

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.core.secret_mask import MASK, SecretMask

SECRET = "abc/def+ghi&Zq9==\"SÉCRET'\\VALUE"
mask = SecretMask([f"Bearer {SECRET}"])


def _escaped(text: str) -> str:
    return "".join(f"\\u{ord(char):04X}" for char in text)


SPELLINGS = [
    SECRET,
    json.dumps(SECRET)[1:-1],
    json.dumps(SECRET, ensure_ascii=False)[1:-1].replace("/", "\\/"),
    json.dumps(json.dumps(SECRET)),
    _escaped(SECRET),
    _escaped(SECRET).lower(),
    quote(SECRET),
    quote(quote(SECRET, safe=""), safe=""),
    quote_plus(f"Bearer {SECRET}"),
    "".join(f"%{byte:02x}" for byte in SECRET.encode()),
    html.escape(SECRET),
    html.escape(html.escape(SECRET)),
    "".join(f"&#{ord(char)};" for char in SECRET),
    "".join(f"&#x{ord(char):X};" for char in SECRET),
    _escaped(SECRET[:9]) + quote(SECRET[9:]),
    SECRET.replace("\\", "\\\\").replace("/", "\\x2f").replace("=", "\\x3D").replace("&", "\\x26"),
    "".join(f"\\x{byte:02x}" for byte in SECRET.encode()),
    "".join(f"\\{ord(char):03o}" for char in SECRET),
    "".join(f"%u{ord(char):04x}" for char in SECRET),
    json.dumps("".join(f"\\x{byte:02X}" for byte in SECRET.encode())),
    "".join(f"\\U{ord(char):08x}" for char in SECRET),
    "".join(f"\\u{{{ord(char):x}}}" for char in SECRET),
    "".join(f"\\{byte:03o}" for byte in SECRET.encode()),
    "".join(f"={byte:02X}" for byte in SECRET.encode()),
    "=\n".join("".join(f"={byte:02x}" for byte in char.encode()) for char in SECRET),
    "=61" + quopri.encodestring(SECRET[1:].encode()).decode().replace("VALUE", "VAL=\r\nUE"),
    SECRET.replace("def", "def\r\n "),
    SECRET.encode().hex(),
    "".join(f"{byte:02x}" if byte % 2 else f"{byte:02X}" for byte in SECRET.encode()),
    *(SECRET.encode().hex(separator) for separator in ":- "),
    " ".join(f"{byte:02X}" for byte in SECRET.encode()),
    ", ".join(f"0x{byte:02x}" for byte in SECRET.encode()),
    base64.encodebytes(b"." * 40 + SECRET.encode() + b"." * 40).decode(),
    json.dumps(base64.encodebytes(b"." * 40 + SECRET.encode()).decode().replace("\n", "\r\n")),
    quote(base64.b64encode(b"??" + SECRET.encode()), safe=""),
    json.dumps(list(SECRET.encode())),
    json.dumps({"type": "Buffer", "data": list(SECRET.encode())}, separators=(",", ":")),
    json.dumps(list(b"." + SECRET.encode() + b"."), indent=4),
    str([byte - 256 if byte > 127 else byte for byte in SECRET.encode()]),
    " ".join(str(ord(char)) for char in SECRET),
    json.dumps(json.dumps(list(SECRET.encode()))),
    "".join(f"&#{ord(char)}" for char in SECRET),
    SECRET.encode().decode("latin-1"),
    json.dumps(SECRET.encode().decode("latin-1")),
    SECRET.encode().decode("cp1252"),
    *(base64.b64encode(("." * n + SECRET).encode("utf-16-le")).decode() for n in range(3)),
    *(base64.b64encode(("." * n + SECRET).encode("utf-16-be")).decode() for n in range(3)),
    *(base64.b64encode(b"." * n + SECRET.encode()).decode() for n in range(3)),
    *(base64.b32encode(b"." * n + SECRET.encode() + b"." * n).decode() for n in range(6)),
    base64.b32encode(SECRET.encode()).decode().lower(),
    quote(quote(base64.b32encode(b"??" + SECRET.encode()), safe=""), safe=""),
    "\n".join(re.findall(".{1,16}", base64.b32encode(b"." * 9 + SECRET.encode()).decode())),
    quote(quote(base64.b64encode(b"??" + SECRET.encode()), safe=""), safe=""),
    "".join(f"%25{byte:02x}" for byte in SECRET.encode()),
    *(base64.urlsafe_b64encode(b"." * n + SECRET.encode() + b"tail").decode() for n in range(3)),
]


@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize("frame", ["{}", "<{}>", '{{"a": "{}"}}', "x={}&y=1"])
def test_mask_hides_a_secret_in_every_spelling(spelling: str, frame: str) -> None:
    masked = mask(frame.format(spelling))
    assert MASK in masked
    for part in ("def", "Zq9", "VALUE", SECRET.encode().hex()[4:12], base64.b64encode(SECRET.encode())[4:12].decode()):
        assert part not in masked
    code = base64.b32encode(SECRET.encode()).decode()
    assert not [part for part in (code[8:16], code[16:24]) if part in masked.upper()]


@pytest.mark.parametrize("before", ["", ".", "..", "<token>"])
@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_mask_hides_ascii_in_base64_of_utf_16(encoding: str, before: str) -> None:
    text = base64.b64encode((before + "abcdef-ghijkl" + "!").encode(encoding)).decode()
    assert len(SecretMask(["abcdef-ghijkl"])(text).replace(MASK, "")) <= len(before) * 3 + 5


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-16", "utf-32-le", "utf-32-be"])
def test_mask_hides_a_secret_in_an_encoding_that_was_read_as_utf_8(encoding: str) -> None:
    text = "<abc/def+ghi>".encode(encoding).decode("utf-8", "replace")
    for shown in (text, json.dumps(text)):
        assert "d" not in SecretMask(["abc/def+ghi"])(shown).replace("\\u0000", "").replace("ufffd", "")


@given(st.text(min_size=4, max_size=30), st.text(max_size=5), st.text(max_size=5))
def test_mask_hides_any_secret_that_json_escapes(secret: str, before: str, after: str) -> None:
    hides = SecretMask([secret])
    for text in (orjson.dumps(before + secret + after).decode(), json.dumps(before + secret + after)):
        assert MASK in hides(text)
    assert MASK in hides(quote(before + secret + after))


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("one\ngeheim/wort\ntwo", "one\n***\ntwo"),
        ("one\n  geheim/\n  wort!\n", "one\n  ***!\n"),
        ("=\ngeheim=2Fwort=20x", "=\n***=20x"),
        ("x\0geheim/wort\0y", "x\0***y"),
        ("x\0g\0e\0heim/wo\0r\0t\0y\0", "x\0***y\0"),
        ("a 67 65 68 65 69 6D 2f 77 6F 72 74 0a", "a *** 0a"),
    ],
)
def test_mask_keeps_what_stands_beside_a_secret(text: str, masked: str) -> None:
    assert SecretMask(["geheim/wort"])(text) == masked


@pytest.mark.parametrize("text", ["", "Bearer of the letter", "a 100 % sum & more", "C:\\temp\\new", "YWJj ZGVm"])
def test_mask_keeps_other_text(text: str) -> None:
    assert mask(text) == text
    assert SecretMask([])(text) == text
    assert SecretMask(["abc"])("abc") == "abc"


@pytest.mark.parametrize("before", range(6))
def test_mask_hides_all_of_a_secret_in_base32(before: int) -> None:
    text = base64.b32encode(b"." * before + b"geheim/wort" + b"." * 5).decode()
    masked = SecretMask(["geheim/wort"])(text)
    first, last = masked.split(MASK)
    assert text.startswith(first)
    assert len(first) <= before * 8 // 5
    assert len(last) <= 5 * 8 // 5 + 7  # the rest, and what fills the last group


def test_words_and_codes_that_only_resemble_base32_are_kept() -> None:
    hides = SecretMask(["geheim/wort", "kurz"])
    for text in ("M5SWQZ", "INTERNATIONALIZATION", "responsibilities", base64.b32encode(b"geheimes Wort").decode()):
        assert hides(text) == text


@pytest.mark.parametrize("cut", range(11, 20))
def test_mask_hides_a_secret_that_a_cut_divides(cut: int) -> None:
    text = "0123456789" + "geheim\\/wort" + "0123456789"
    hides = SecretMask(["geheim/wort"])
    assert hides(text, 0, cut) == "0123456789***"
    assert hides(text, cut) == "***0123456789"


def test_mask_hides_the_password_of_basic_credentials_and_the_lines_of_a_key() -> None:
    basic = SecretMask(["Basic " + base64.b64encode(b"user:geheimes Wort").decode()])
    assert basic("password geheimes%20Wort") == "password ***"
    key = SecretMask(["-----BEGIN KEY-----\nMIIEowIBAAKCAQEA\nq9ZLx81bbQ==\n-----END KEY-----\n"])
    assert key("read MIIEowIBAAKCAQEA first") == "read *** first"


LONG = "".join(f"k{number}/" for number in range(250))[:1000]


@pytest.mark.parametrize(
    ("spelling", "run"),
    [
        (LONG, "k0/"),
        (LONG.encode().hex(), "6b"),
        (LONG.encode().hex(), "6b6"),  # the digits of the secret do not begin where a byte of the run would
        (LONG.encode().hex(" ") + " ", "6b "),
        ("".join(f"0x{byte:02X}, " for byte in LONG.encode()), "0x6B, "),
        ("".join(f"0x{byte:02x}" for byte in LONG.encode()), "0x6b"),
        ("".join(f"{byte}, " for byte in LONG.encode()), "107, "),
        (base64.b64encode(b".." + LONG.encode() + b"..").decode(), "azAv"),
        (base64.b32encode(b"..." + LONG.encode() + b"...").decode(), "NMYC6"),
        (base64.b32encode(b"..." + LONG.encode() + b"...").decode().lower(), "nmyc6"),
    ],
)
@pytest.mark.parametrize(("before", "after"), [(0, 3000), (1501, 1499), (3000, 0), (0, 0)])
@pytest.mark.parametrize("beside", ["", "!", "67 65!"])
def test_mask_hides_a_long_secret_anywhere_in_a_long_run(
    spelling: str, run: str, before: int, after: int, beside: str
) -> None:
    masked = SecretMask([LONG])(beside + run * before + spelling + run * after + beside)
    assert masked.count(MASK) == 1
    assert abs(len(masked) - len(MASK) - 2 * len(beside) - len(run) * (before + after)) <= 16
    assert masked.startswith(beside)
    assert masked.endswith(beside)


def test_mask_hides_a_dump_that_stands_beside_other_digits() -> None:
    hides = SecretMask(["geheim/wort"])
    digits = b"geheim/wort".hex()
    for dump in (digits, b"geheim/wort".hex(" "), b"geheim/wort".hex(":")):
        for before in ("a", "ab ", "12a", "ab cde"):
            assert hides(f"{before}{dump}x") == f"{before}***x"


@pytest.mark.parametrize("run", ["A", "M5SWQ2", "6b", "6b-", "6b ", "azAv", "0x6b,"])
def test_time_does_not_grow_with_the_length_of_the_secret(run: str) -> None:
    """Runs that are a little shorter than the secret were tried again from each of their characters."""
    text = (run * (1600 // len(run)) + "!") * 80

    def seconds(size: int) -> float:
        hides = SecretMask([LONG[:size]])
        return min(_time(hides, text) for _ in range(3))

    assert seconds(1000) < 8 * max(seconds(20), 0.01)


@pytest.mark.parametrize(
    "char",
    ["M5SWQZLJNU", "\\", "%25", "&amp;", "g", "A", "\0", "=\n", "\n ", "\n", "=E0", "67", "67 ", "7,", "&#7", "\\u{"],
)
def test_mask_takes_time_in_proportion_to_the_text(char: str) -> None:
    hides = SecretMask(["gggggggggggg\\\\\\\\\\\\x", "%%%%%%%%%%%%%%x", "&&&&&&&&&&&x"])

    def seconds(size: int) -> float:
        text = char * (size // len(char))
        return min(_time(hides, text) for _ in range(3))

    assert seconds(200_000) < 40 * max(seconds(20_000), 0.0005)


def _time(hides: SecretMask, text: str) -> float:
    started = time.process_time()
    hides(text)
    return time.process_time() - started
