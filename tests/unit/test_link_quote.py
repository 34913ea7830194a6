"""Words of the link's server are shown without the secrets that it was sent."""

import asyncio
import base64

import pytest
from aiohttp import StreamReader
from aiohttp.base_protocol import BaseProtocol

from worker.notifiers.socketio.handshake import ConnectOptions
from worker.notifiers.socketio.quote import Body, Quote, quoted_body

OPTIONS = ConnectOptions(
    "http://server",
    "/path",
    {"X-Key": "secret-of-a-header"},
    {"token": "secret-of-the-token"},
    query={"key": "secret-of-the-query"},
    proxy="http://user:secret-of-the-proxy@proxy",
)


@pytest.mark.parametrize("of", ["a-header", "the-token", "the-query", "the-proxy"])
def test_quote_masks_what_the_server_was_sent(of: str) -> None:
    assert OPTIONS.quote()(f"refused: secret-of-{of}!", 100) == "refused: ***!"


def test_quote_masks_a_secret_at_its_cut_as_a_whole() -> None:
    assert OPTIONS.quote()("x" * 90 + "secret-of-the-token", 100) == "x" * 90 + "***"


def test_quote_shortens_other_words() -> None:
    assert OPTIONS.quote()("x" * 200, 100) == "x" * 100


CODED = base64.b64encode(b"secret-of-the-token").decode()


@pytest.mark.parametrize("length", range(len(CODED)))
@pytest.mark.parametrize("is_whole", [True, False])
async def test_body_that_is_cut_within_a_secret_shows_no_part_of_it(length: int, is_whole: bool) -> None:
    """Masking the first secret shortens the text, so what was at the end comes into what is quoted."""
    loop = asyncio.get_running_loop()
    body = StreamReader(BaseProtocol(loop), 1 << 16, loop=loop)
    body.feed_data(f"{CODED} {'x' * 75} {CODED if is_whole else CODED[:length]}".encode())
    if is_whole:
        body.feed_eof()
    quoted = await quoted_body(body, OPTIONS.quote(), 80 + length)
    assert CODED[:4] not in quoted
    assert quoted.startswith("*** x") or not is_whole


@pytest.mark.parametrize("separator", [", ", " ,\n" + " " * 14, "  ,\n" + " " * 15, " " * 16])
@pytest.mark.parametrize("secret", ["secret-of-the-token", "รหัสลับ"])
def test_body_that_is_cut_within_the_numbers_of_a_secret_shows_none_of_them(separator: str, secret: str) -> None:
    signed = [byte - 256 if byte > 127 else byte for byte in secret.encode()]
    text = f"refused: [{separator.join(map(str, signed))}"
    for length in range(len("refused: ["), len(text) + 1):
        shown = Body(text[:length], is_whole=False).quoted(Quote(frozenset({secret})), 10_000)
        assert "refused: [".startswith(shown), (length, shown)
    assert Body(f"{text}]", is_whole=True).quoted(Quote(frozenset({secret})), 10_000) == "refused: [***]"


def a_body() -> StreamReader:
    """A body of a connection that stays open."""
    loop = asyncio.get_running_loop()
    protocol = BaseProtocol(loop)
    protocol.connection_made(asyncio.Transport())
    return StreamReader(protocol, 1 << 16, loop=loop)


async def test_body_that_arrives_in_pieces_is_quoted_to_its_end() -> None:
    body = a_body()
    body.feed_data(b"refused: ")
    asyncio.get_running_loop().call_soon(body.feed_data, b"wrong key")
    asyncio.get_running_loop().call_later(0.001, body.feed_eof)
    assert await quoted_body(body, OPTIONS.quote(), 100) == "refused: wrong key"


@pytest.mark.parametrize("arrived", [b"", b"refused: " + b"x" * 2000])
async def test_body_that_never_ends_does_not_hold_up_the_link(arrived: bytes) -> None:
    body = a_body()
    body.feed_data(arrived)
    async with asyncio.timeout(30):
        assert await quoted_body(body, OPTIONS.quote(), 20) == arrived[:20].decode()
