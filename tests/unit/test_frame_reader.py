"""The reader of WebSocket frames: RFC 6455, and any division of the bytes into reads."""

import itertools
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.hub.transports.incomplete_messages import IncompleteMessages
from worker.net.frame_mask import apply_mask, mask_by_integers
from worker.net.frame_reader import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    TEXT,
    FrameError,
    FrameReader,
    close_code_of,
)
from worker.net.frames import client_frame, new_masks

LIMIT = 1000


def frame(opcode, payload=b"", *, final=True, mask=b"\x01\x02\x03\x04", reserved=0, size=None):
    """One frame of a client; `size`: how many bytes of length are used."""
    first = (0x80 if final else 0) | reserved | opcode
    length = len(payload)
    size = size or (0 if length < 126 else 2 if length < 65536 else 8)
    code = {0: length, 2: 126, 8: 127}[size]
    head = bytes((first, (0x80 if mask else 0) | code)) + (length.to_bytes(size, "big") if size else b"")
    masked = bytes(byte ^ mask[at % 4] for at, byte in enumerate(payload)) if mask else payload
    return head + mask + masked


def read(data, limit=LIMIT, *, masked=True):
    """All that the reader returns for these bytes."""
    reader = FrameReader(limit, masked=masked)
    reader.feed(data)
    found = []
    while (next_frame := reader.next()) is not None:
        found.append(next_frame)
    return found, reader


def code_of_failure(data, limit=LIMIT):
    with pytest.raises(FrameError) as caught:
        read(data, limit)
    return caught.value.code


@pytest.mark.parametrize("size", [0, 1, 2, 3, 4, 5, 125, 126, 127, 65535, 65536, 70000])
def test_reader_returns_a_message_of_any_length(size):
    payload = bytes(range(256)) * (size // 256 + 1)
    found, reader = read(frame(BINARY, payload[:size]), 100_000)
    assert found == [(BINARY, payload[:size])]
    assert not reader.is_incomplete
    assert reader.held_bytes == 0


def test_reader_returns_control_frames_between_the_fragments_of_a_message():
    found, _ = read(
        frame(TEXT, b"one ", final=False)
        + frame(PING, b"p")
        + frame(CONTINUATION, b"", final=False)
        + frame(PONG)
        + frame(CONTINUATION, b"two")
        + frame(CLOSE, b"\x03\xe8")
    )
    assert found == [
        (CONTINUATION, b"one "),
        (PING, b"p"),
        (CONTINUATION, b""),
        (PONG, b""),
        (TEXT, b"one two"),
        (CLOSE, b"\x03\xe8"),
    ]


frames = st.one_of(
    st.tuples(st.just(TEXT), st.text(max_size=60).map(str.encode)),
    st.tuples(st.just(BINARY), st.binary(max_size=300)),
    st.tuples(st.sampled_from([PING, PONG]), st.binary(max_size=125)),
)


@given(
    messages=st.lists(frames, max_size=6),
    cuts=st.lists(st.integers(0, 400), max_size=6),
    mask=st.one_of(st.just(b""), st.binary(min_size=4, max_size=4)),
)
def test_reader_returns_the_same_for_any_division_into_reads(messages, cuts, mask):
    data = b"".join(frame(opcode, payload, mask=mask) for opcode, payload in messages)
    reader, found, at = FrameReader(LIMIT, masked=bool(mask)), [], 0
    for end in [*sorted(cuts), len(data)]:
        reader.feed(data[at:end])
        at = max(at, min(end, len(data)))
        while (next_frame := reader.next()) is not None:
            found.append(next_frame)
    assert found == messages


@given(data=st.binary(max_size=200), masked=st.booleans())
def test_reader_survives_any_bytes(data, masked):
    outcome = 0
    try:
        _, reader = read(data, masked=masked)
        assert reader.held_bytes <= len(data)
    except FrameError as error:
        outcome = error.code
    assert outcome in (0, 1002, 1007, 1009)


@pytest.mark.parametrize(
    "data",
    [
        frame(TEXT, b"a", mask=b""),
        frame(PING, b"", mask=b""),
        *(frame(TEXT, b"a", reserved=bits) for bits in (0x40, 0x20, 0x10, 0x70)),
        *(frame(opcode) for opcode in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15)),
        *(frame(opcode, final=False) for opcode in (CLOSE, PING, PONG)),
        frame(PING, b"x" * 126),
        frame(CLOSE, b"x" * 200),
        frame(CONTINUATION, b"a"),
        frame(CONTINUATION, b"a", final=False),
        frame(TEXT, b"a", final=False) + frame(TEXT, b"b"),
        frame(TEXT, b"a", final=False) + frame(BINARY, b"b", final=False),
        frame(TEXT, b"a" * 125, size=2),
        frame(TEXT, b"a" * 200, size=8),
        bytes((0x81, 0xFF)) + (1 << 63).to_bytes(8, "big"),
    ],
)
def test_frame_against_the_protocol_is_a_protocol_error(data):
    assert code_of_failure(data) == 1002


@pytest.mark.parametrize("opcode", [TEXT, BINARY, CLOSE, PING, PONG])
def test_masked_frame_of_a_server_is_a_protocol_error(opcode):
    reader = FrameReader(LIMIT, masked=False)
    reader.feed(frame(opcode)[:2])
    with pytest.raises(FrameError) as caught:
        reader.next()
    assert (caught.value.code, caught.value.reason) == (1002, "a masked frame")


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65535, 65536])
def test_client_frame_is_read_by_a_server(size):
    payload = bytes(range(256)) * (size // 256 + 1)
    masks = new_masks()
    found, _ = read(b"".join(client_frame(BINARY, payload[:size], next(masks)) for _ in range(3)), 100_000)
    assert found == [(BINARY, payload[:size])] * 3


def test_masks_do_not_repeat():
    assert len(set(itertools.islice(new_masks(), 3000))) > 2990


@pytest.mark.parametrize(
    "payload", [b"\xff", b"\xc0\xaf", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", "ก".encode()[:2], b"ok \xe0\xb8", b"\x80"]
)
def test_text_that_is_not_utf8_is_invalid_data(payload):
    assert code_of_failure(frame(TEXT, payload)) == 1007
    assert code_of_failure(frame(TEXT, payload[:1], final=False) + frame(CONTINUATION, payload[1:])) == 1007
    assert read(frame(BINARY, payload))[0] == [(BINARY, payload)]


def test_text_may_divide_a_character_between_fragments_and_fails_at_the_first_wrong_one():
    thai = "ชื่อ".encode()
    found, _ = read(frame(TEXT, thai[:4], final=False) + frame(CONTINUATION, thai[4:]))
    assert found[-1] == (TEXT, thai)
    assert code_of_failure(frame(TEXT, b"\xff", final=False)) == 1007


def test_size_is_rejected_at_the_header_before_the_payload_has_come():
    assert code_of_failure(frame(BINARY, b"x" * (LIMIT + 1))[:8]) == 1009
    assert code_of_failure(bytes((0x82, 0xFF)) + (1 << 40).to_bytes(8, "big")) == 1009
    fragments = frame(BINARY, b"x" * 600, final=False) + frame(CONTINUATION, b"x" * 401)[:8]
    assert code_of_failure(fragments) == 1009
    assert read(frame(BINARY, b"x" * LIMIT))[0] == [(BINARY, b"x" * LIMIT)]


def test_limit_may_change_between_messages():
    reader = FrameReader(10)
    reader.feed(frame(BINARY, b"x" * 10))
    assert reader.next() is not None
    reader.max_message_bytes = 20
    reader.feed(frame(BINARY, b"x" * 20))
    assert reader.next() == (BINARY, b"x" * 20)


def test_held_bytes_count_fragments_and_the_unfinished_frame():
    _, reader = read(frame(BINARY, b"x" * 300, final=False) + frame(CONTINUATION, b"y" * 200)[:-1])
    assert reader.is_incomplete
    assert 499 <= reader.held_bytes <= 510
    reader.discard()
    assert (reader.is_incomplete, reader.held_bytes) == (False, 0)


@pytest.mark.parametrize("code", [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1014, 3000, 4429, 4999])
def test_close_code_that_may_be_sent_is_returned(code):
    assert close_code_of(code.to_bytes(2, "big") + "ลาก่อน".encode()) == code


@pytest.mark.parametrize("code", [0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535])
def test_close_code_that_may_not_be_sent_is_a_protocol_error(code):
    with pytest.raises(FrameError) as caught:
        close_code_of(code.to_bytes(2, "big"))
    assert caught.value.code == 1002


def test_close_frame_may_be_empty_but_not_one_byte_and_its_reason_is_utf8():
    assert close_code_of(b"") == 1005
    for payload, code in ((b"\x03", 1002), (b"\x03\xe8\xff", 1007)):
        with pytest.raises(FrameError) as caught:
            close_code_of(payload)
        assert caught.value.code == code


@given(mask=st.binary(min_size=4, max_size=4), payload=st.binary(min_size=1, max_size=300))
def test_unmask_without_the_compiled_function_is_the_same(mask, payload):
    ours, compiled = bytearray(payload), bytearray(payload)
    mask_by_integers(mask, ours)
    apply_mask(mask, compiled)
    assert ours == compiled == bytes(byte ^ mask[at % 4] for at, byte in enumerate(payload))


def test_incomplete_messages_above_the_total_end_the_oldest():
    incomplete = IncompleteMessages(100)
    ended: list[int] = []
    for key, size in ((1, 40), (2, 40), (1, 50), (3, 30)):
        incomplete.hold(key, size, partial(ended.append, key))
    assert ended == [1]
    assert incomplete.held_bytes == 70
    incomplete.release(2)
    incomplete.release(1)
    incomplete.hold(4, 70, partial(ended.append, 4))
    assert (ended, incomplete.held_bytes) == ([1], 100)
