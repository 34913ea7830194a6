"""What wire.py takes from python-socketio, python-engineio and aiohttp without being promised it. Fails when a new
version of theirs changes it: then read wire.py again before raising the version."""

import inspect
import re

import aiohttp
import engineio
import socketio
from aiohttp.http_websocket import WebSocketWriter


def source(thing: object) -> str:
    return inspect.getsource(thing)  # type: ignore[arg-type]


def test_the_loops_of_the_engine_io_client_have_their_names() -> None:
    client = engineio.AsyncClient(handle_sigint=False)
    assert client.read_loop_task is None
    assert client.write_loop_task is None


def test_the_websocket_response_keeps_its_http_response() -> None:
    assert "self._response = response" in source(aiohttp.ClientWebSocketResponse.__init__)
    assert isinstance(inspect.getattr_static(aiohttp.ClientResponse, "connection"), object)


def test_the_library_reads_and_writes_through_the_methods_we_override() -> None:
    assert "self.ws.receive()" in source(engineio.AsyncClient._read_loop_websocket)
    assert "self.ws.send_str(pkt.encode())" in source(engineio.AsyncClient._write_loop)
    assert "await ws.receive()" in source(engineio.AsyncClient._connect_websocket)


def test_a_frame_is_on_the_transport_before_send_frame_waits() -> None:
    """`written` is set before the await: true only while writing comes first and waiting after."""
    text = source(WebSocketWriter.send_frame)
    assert text.index("_write_websocket_frame") < text.index("_drain_helper")


def test_the_writer_uses_nothing_of_its_transport_but_write_and_is_closing() -> None:
    assert set(re.findall(r"self\.transport\.(\w+)", source(WebSocketWriter))) == {"write", "is_closing"}


def test_the_writer_is_the_second_argument_of_a_websocket_response() -> None:
    assert list(inspect.signature(aiohttp.ClientWebSocketResponse).parameters)[:2] == ["reader", "writer"]
    assert re.search(r"self\._ws_response_class\(\s*reader,\s*writer,", source(aiohttp.ClientSession._ws_connect))


def test_the_client_takes_a_packet_class_and_leaves_the_library_s_own_alone() -> None:
    from worker.orgsocket import wire

    before = socketio.packet.Packet.json
    client = socketio.AsyncClient(serializer=wire._Packet, handle_sigint=False)
    assert client.packet_class is wire._Packet
    assert socketio.packet.Packet.json is before
    assert engineio.packet.Packet.json is not wire._Json
    assert wire._Packet(data=["a", {"ก": 1}]).encode() == '2["a",{"ก":1}]'


def test_acknowledgements_of_the_library_s_own_path_count_from_one() -> None:
    client = socketio.AsyncClient(handle_sigint=False)
    assert client._generate_ack_id("/", print) == 1
