"""What text frames of Engine.IO 4 say, one by one and at random."""

import asyncio
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from worker.notifiers.socketio.handshake import ConnectOptions, handshake_url
from worker.notifiers.socketio.protocol import OpenPacket
from worker.notifiers.socketio.protocol_v3 import ProtocolV3, heartbeat_interval
from worker.notifiers.socketio.protocol_v4 import ProtocolV4
from worker.notifiers.socketio.state import CloseReason


class FrameRecorder:
    """A FrameListener and ConnectionEvents that records its calls."""

    def __init__(self) -> None:
        self.calls: list[tuple[object, ...]] = []

    def __getattr__(self, name: str) -> Any:
        return lambda *arguments: self.calls.append((name, *arguments))


def calls_after(text: str) -> list[tuple[object, ...]]:
    recorder = FrameRecorder()
    ProtocolV4(recorder, recorder).read(text)
    return recorder.calls


@pytest.mark.parametrize(
    ("text", "call"),
    [
        ("431[]", ("on_ack", 1, None)),
        ('4312[{"ok":true}]', ("on_ack", 12, None)),
        ("437[false]", ("on_ack", 7, "the server answered false")),
        ('437[{"error":"ไม่พบ"}]', ("on_ack", 7, "ไม่พบ")),
        ('437[{"error":' + "[" * 900 + "]" * 900 + "}]", ("on_ack", 7, "it is nested too deep to be shown")),
        ('42["error",{"error":"full"}]', ("on_event", "error", ["full"])),
        ('461-9[{"_placeholder":true,"num":0}]', ("on_ack", 9, None)),
        ('461-9[false,{"_placeholder":true,"num":0}]', ("on_ack", 9, "the server answered false")),
        ('461-9[{"ok":false,"message":"no room","at":{"_placeholder":true,"num":0}}]', ("on_ack", 9, "no room")),
        ('461-9[{"error":{"_placeholder":true,"num":0}}]', ("on_ack", 9, "error")),
        ('461-/,9[{"error":"no"},{"_placeholder":true,"num":0}]', ("on_ack", 9, "no")),
        ('42["a",1,{"b":2},"offset"]', ("on_event", "a", [1, {"b": 2}, "offset"])),
        ('425["a"]', ("on_event", "a", [])),
        ("2", ("on_heartbeat",)),
        ('40{"sid":"a"}', ("on_connect",)),
    ],
)
def test_read_reports_each_frame_by_its_meaning(text: str, call: tuple[object, ...]) -> None:
    assert calls_after(text) == [call]


@pytest.mark.parametrize("text", ["6", "40/other", "41/other,", '44/other,{"message":"no"}'])
def test_read_ignores_noop_packets_and_other_namespaces(text: str) -> None:
    assert calls_after(text) == []


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("41", CloseReason("the server disconnected us from the namespace")),
        ("1", CloseReason("the server closed the Engine.IO session")),
        ('44{"message":"try later"}', CloseReason("CONNECT_ERROR: try later")),
        ('44{"message":"unauthorized"}', CloseReason("CONNECT_ERROR: unauthorized", rejected=True)),
        ("44", CloseReason("CONNECT_ERROR: no reason given")),
        ("44{}", CloseReason("CONNECT_ERROR: no reason given")),
        ('44"try later"', CloseReason("CONNECT_ERROR: try later")),
        ('44["try","later"]', CloseReason('CONNECT_ERROR: ["try","later"]')),
        ('44["unauthorized"]', CloseReason('CONNECT_ERROR: ["unauthorized"]', rejected=True)),
        ('44{"error":"try later"}', CloseReason("CONNECT_ERROR: try later")),
        ('44{"error":"jwt expired"}', CloseReason("CONNECT_ERROR: jwt expired", rejected=True)),
        ('44{"data":{"code":4401}}', CloseReason('CONNECT_ERROR: {"data":{"code":4401}}', rejected=True)),
        ('44{"message":{"text":"full"}}', CloseReason('CONNECT_ERROR: {"message":{"text":"full"}}')),
        ('44{"message":"","data":{"at":"gate"}}', CloseReason('CONNECT_ERROR: {"message":"","data":{"at":"gate"}}')),
        ("44unauthorized", CloseReason("CONNECT_ERROR: unauthorized", rejected=True)),
        ("447", CloseReason("CONNECT_ERROR: 7")),
        ("44" + "[" * 900 + "]" * 900, CloseReason("CONNECT_ERROR: it is nested too deep to be shown")),
        ('44{"a":"' + "x" * 5000 + '"}', CloseReason('CONNECT_ERROR: {"a":"' + "x" * 294)),
        ("44{", CloseReason("CONNECT_ERROR: {")),
        ("x", CloseReason("the server sent a frame that is not Engine.IO: 'x'")),
        ("", CloseReason("the server sent a frame that is not Engine.IO: ''")),
        ("3", CloseReason("the server sent a frame that is not Engine.IO 4: '3'")),
    ],
)
def test_read_of_a_frame_that_ends_the_session_says_why(text: str, reason: CloseReason) -> None:
    assert calls_after(text) == [("end", reason)]


@pytest.mark.parametrize("protocol", [ProtocolV3, ProtocolV4])
@pytest.mark.parametrize("words", ['["no: s3cret-token"]', '{"data":{"was":"s3cret-token"}}', '"s3cret-token"'])
def test_read_of_a_refusal_masks_what_the_server_was_sent(protocol: type[ProtocolV3 | ProtocolV4], words: str) -> None:
    recorder = FrameRecorder()
    reader = protocol(recorder, recorder)
    reader.quote = ConnectOptions("http://hub", "/a", {}, {"token": "s3cret-token"}).quote()
    reader.read(f"44{words}")
    [(_, reason)] = recorder.calls
    assert isinstance(reason, CloseReason)
    assert "***" in reason.reason
    assert "s3cret" not in reason.reason


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('44{"data":"full"}', "full"),
        ('44["a",{"b":1}]', '["a",{"b":1}]'),
        ("44", "no reason given"),
        ("44later", "later"),
    ],
)
def test_read_of_a_refusal_by_engine_io_3_gives_what_can_be_read(text: str, words: str) -> None:
    recorder = FrameRecorder()
    ProtocolV3(recorder, recorder).read(text)
    assert recorder.calls == [("end", CloseReason(f"CONNECT_ERROR: {words}"))]


def test_read_keeps_the_open_packet() -> None:
    recorder = FrameRecorder()
    protocol = ProtocolV4(recorder, recorder)
    protocol.read('0{"sid":"a","pingInterval":25000,"pingTimeout":20000,"maxPayload":100}')
    assert protocol.open_packet == OpenPacket(25.0, 20.0, 100)
    assert recorder.calls == [("on_open",)]


@pytest.mark.parametrize(
    ("interval", "timeout"), [("-5000", "20000"), ("25000", "-1"), ("0", "0"), ('"' + "9" * 400 + '"', "20000")]
)
def test_read_of_an_open_packet_with_unusable_times_ends_the_session(interval: str, timeout: str) -> None:
    [(name, reason)] = calls_after(f'0{{"sid":"a","pingInterval":{interval},"pingTimeout":{timeout}}}')
    assert name == "end"
    assert "OPEN packet cannot be read" in str(reason)


@pytest.mark.parametrize("limit", ["-5", "0", "null"])
def test_read_of_an_open_packet_takes_a_limit_that_no_message_fits_for_none(limit: str) -> None:
    recorder = FrameRecorder()
    protocol = ProtocolV4(recorder, recorder)
    protocol.read(f'0{{"sid":"a","pingInterval":25000,"pingTimeout":20000,"maxPayload":{limit}}}')
    assert protocol.open_packet == OpenPacket(25.0, 20.0, None)


@pytest.mark.parametrize(
    ("interval", "timeout", "expected"), [(25, 20, 25), (0, 20, 0.1), (0.001, 5, 0.1), (0.2, 60, 0.2), (0, 0.1, 0.05)]
)
def test_heartbeats_of_engine_io_3_are_a_tenth_of_a_second_apart_or_more_if_the_timeout_allows_it(
    interval: float, timeout: float, expected: float
) -> None:
    assert heartbeat_interval(OpenPacket(interval, timeout, None)) == expected


def test_read_of_a_connect_without_a_session_id_names_the_old_protocol() -> None:
    [(name, reason)] = calls_after("40")
    assert name == "end"
    assert isinstance(reason, CloseReason)
    assert reason.rejected
    assert "Engine.IO 3" in reason.reason
    assert reason.speaks == 3


def test_encode_event_requests_an_acknowledgement_only_with_a_number() -> None:
    for protocol in (ProtocolV3(FrameRecorder(), FrameRecorder()), ProtocolV4(FrameRecorder(), FrameRecorder())):
        assert protocol.encode_event(b'["a"]', 12) == b'4212["a"]'
        assert protocol.encode_event(b'["a"]', None) == b'42["a"]'


def test_connect_packet_carries_the_credentials() -> None:
    protocol = ProtocolV4(FrameRecorder(), FrameRecorder())
    assert protocol.connect_packet({"token": "ก"}) == '40{"token":"ก"}'
    assert protocol.connect_packet(None) == "40{}"


async def test_keep_alive_answers_each_heartbeat_and_returns_when_none_comes() -> None:
    recorder, sent = FrameRecorder(), asyncio.Queue[str]()
    protocol = ProtocolV4(recorder, recorder)
    protocol.read('0{"sid":"a","pingInterval":500,"pingTimeout":500}')
    running = asyncio.create_task(protocol.keep_alive(sent.put, lambda: 7))
    for _ in range(2):
        protocol.read("2")
        assert await asyncio.wait_for(sent.get(), 30) == "3"
    await asyncio.wait_for(running, 30)
    assert recorder.calls == [("on_open",), *[("on_heartbeat",), ("on_heartbeat_answered", 7)] * 2]


@pytest.mark.parametrize(
    ("url", "path", "expected"),
    [
        ("http://hub:8080", "/api/v1/org-socket", "http://hub:8080/api/v1/org-socket/?EIO=4&transport=websocket"),
        ("https://hub/ignored", "a/", "https://hub/a/?EIO=4&transport=websocket"),
        ("ws://[::1]:80?tenant=7", "/a", "ws://[::1]:80/a/?tenant=7&EIO=4&transport=websocket"),
    ],
)
def test_handshake_url_joins_address_path_and_query(url: str, path: str, expected: str) -> None:
    assert handshake_url(ConnectOptions(url, path, {}, None), 4) == expected


@given(st.text(max_size=40) | st.from_regex(r"[0-6]{1,2}[0-9]{0,3}[-/,]?[\[{\"].{0,20}") | st.from_regex(r"4[0-6].*"))
@example("42[" + "[" * 5000)
@example('42["a",' + "9" * 5000 + "]")
@example("43" + "9" * 5000 + "[]")
@example("42\ud800")
def test_read_never_raises(text: str) -> None:
    calls_after(text)
