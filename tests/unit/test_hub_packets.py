"""The Socket.IO grammar: valid packets, invalid packets, and that decoding has no other outcome."""

import contextlib

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.echo_hub import encode_binary
from worker.hub.errors import MalformedPacket
from worker.hub.socketio import packets
from worker.hub.socketio.packets import Kind, decode, encode
from worker.net.frames import close_frame, text_frame


@pytest.mark.parametrize(
    ("message", "kind", "namespace", "ack", "data"),
    [
        (b"0", Kind.CONNECT, "/", None, None),
        (b'0{"token":"x"}', Kind.CONNECT, "/", None, {"token": "x"}),
        (b'0/admin,{"token":"x"}', Kind.CONNECT, "/admin", None, {"token": "x"}),
        (b"0/admin", Kind.CONNECT, "/admin", None, None),
        (b"0/admin?token=" + b"x" * 4000 + b",", Kind.CONNECT, "/admin?token=" + "x" * 4000, None, None),
        (b"0/" + b"n" * 200, Kind.CONNECT, "/" + "n" * 200, None, None),
        (b"1", Kind.DISCONNECT, "/", None, None),
        (b"1/admin,", Kind.DISCONNECT, "/admin", None, None),
        (b'2["a",1]', Kind.EVENT, "/", None, ["a", 1]),
        (b'212["a"]', Kind.EVENT, "/", 12, ["a"]),
        (b'2/admin,456["a"]', Kind.EVENT, "/admin", 456, ["a"]),
        (b"3/admin,456[]", Kind.ACK, "/admin", 456, []),
        (
            b'51-["a",{"_placeholder":true,"num":0}]',
            Kind.BINARY_EVENT,
            "/",
            None,
            ["a", {"_placeholder": True, "num": 0}],
        ),
    ],
)
def test_decode_of_a_valid_packet_returns_its_parts(message, kind, namespace, ack, data):
    packet = decode(message)
    assert (packet.kind, packet.namespace, packet.id, packet.data) == (kind, namespace, ack, data)


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"7",
        b"a",
        b"2",
        b"2{}",
        b"2[]",
        b"2[1]",
        b'2["connect"]',
        b'2["disconnect"]',
        b'2["a"',
        b'2["a"]x',
        b"0[]",
        b"0/" + b"n" * 201,
        b"0/admin?" + b"x" * 16001,
        b'0"text"',
        b"1{}",
        b'4{"message":"x"}',
        b"3{}",
        b'21-["a"]',
        b'5["a"]',
        b'599-["a"]',
        b'50-["a"]',
        b'2/\xff,["a"]',
        b'2["\xff"]',
        b"2" + b"9" * 40 + b'["a"]',
        b'2["a",' + b"[" * 40 + b"]" * 40 + b"]",
        b"2" + b"[" * 30000,
        b'2["a",1e999999]' + b"{" * 3,
    ],
)
def test_decode_of_an_invalid_packet_raises(message):
    with pytest.raises(MalformedPacket):
        decode(message)


def test_decode_does_not_count_brackets_inside_strings_as_depth():
    text = "[{" * 500 + '\\"'
    assert decode(b"2" + orjson.dumps(["a", text])).data == ["a", text]


@pytest.mark.parametrize("unit", [b'\\"', b'"\\', b'[\\"', b'{"\\'])
def test_decode_of_a_megabyte_of_quotes_that_never_end_raises(unit):
    """Counting the nesting by a search that begins again at every quote would take hours, and hold the event loop."""
    with pytest.raises(MalformedPacket):
        decode(b"2" + b"[" * 40 + b'"' + unit * (1_000_000 // len(unit)))


@pytest.mark.parametrize("message", [b'0{"token":[' + b"[]," * 31 + b"[]]}", b'0{"a":[' + b'{"b":1},' * 31 + b"{}]}"])
def test_decode_of_many_objects_raises_before_the_client_is_known(message):
    assert decode(message).kind is Kind.CONNECT
    with pytest.raises(MalformedPacket, match="before authentication"):
        decode(message, lambda: False)


@given(st.binary(max_size=200))
def test_decode_of_any_bytes_returns_a_packet_or_raises_malformed(message):
    try:
        packet = decode(message)
    except MalformedPacket:
        return
    assert packet.kind in Kind


@given(
    st.text('0123456789-/,[]{}"\\ abcé', max_size=60),
    st.sampled_from("0123456"),
)
def test_decode_of_text_like_a_packet_returns_a_packet_or_raises_malformed(rest, kind):
    with contextlib.suppress(MalformedPacket):
        decode((kind + rest).encode())


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(st.lists(json_values, max_size=3), st.none() | st.integers(0, 10**14), st.sampled_from(["/", "/admin", "/กข"]))
def test_decode_reverses_encode(arguments, ack, namespace):
    data = ["event", *arguments]
    message = encode(Kind.EVENT, namespace, orjson.dumps(data), ack)
    packet = decode(message)
    assert (packet.namespace, packet.id, packet.data) == (namespace, ack, data)


@given(st.binary(max_size=20), st.binary(max_size=20))
def test_reconstruct_puts_attachments_into_their_places(first, second):
    message, attachments = encode_binary(Kind.BINARY_EVENT, "/", ["a", first, {"b": [second, 1]}], 3)
    packet = decode(message)
    assert packet.attachments == 2
    assert packets.reconstruct(packet.data, attachments) == ["a", first, {"b": [second, 1]}]


@pytest.mark.parametrize("num", [-1, 1, "0", None, True, 1.5])
def test_reconstruct_of_a_placeholder_without_attachment_raises(num):
    with pytest.raises(MalformedPacket):
        packets.reconstruct([{"_placeholder": True, "num": num}], [b"x"])


@pytest.mark.parametrize(
    ("size", "header"),
    [
        (0, b"\x81\x00"),
        (125, b"\x81\x7d"),
        (126, b"\x81\x7e\x00\x7e"),
        (65535, b"\x81\x7e\xff\xff"),
        (65536, b"\x81\x7f\x00\x00\x00\x00\x00\x01\x00\x00"),
    ],
)
def test_text_frame_has_the_shortest_length_field(size, header):
    assert text_frame(b"x" * size) == header + b"x" * size


def test_close_frame_cuts_a_long_reason_between_characters():
    frame = close_frame(1001, "ก" * 60)
    assert frame[:4] == b"\x88\x7d\x03\xe9"
    assert frame[4:].decode() == "ก" * 41
