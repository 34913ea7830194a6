"""`doctor ws` against the built-in hub, python-socketio's server, old and broken servers, and none."""

import asyncio
import contextlib
from unittest.mock import AsyncMock, Mock

import orjson
import pytest
from aiohttp import web
from rich.cells import cell_len

from config.hub_settings import HubSettings
from config.loader import load
from tests.support.bad_servers import bad_server
from tests.support.hub import EVENT, PATH, running_hub
from tests.support.ports import free_port
from tests.support.process import command, running_worker
from tests.support.socketio_server import SocketIoServer
from worker.cli import doctor_connection, doctor_native, doctor_socketio
from worker.cli.doctor import Check, Doctor, Target, exit_code, server_address, target_for
from worker.cli.doctor_connection import CheckResult, DoctorConnection
from worker.cli.doctor_table import header, rows_of
from worker.hub.engineio.session import Timing
from worker.notifiers.socketio.quote import Quote


@pytest.fixture
def patient(monkeypatch):
    """Wait long for what a server does answer: on a busy machine its answer takes more than two seconds."""
    monkeypatch.setattr(doctor_connection, "_CLOSE_SECONDS", 60.0)
    monkeypatch.setattr(doctor_socketio, "_NAMESPACE_SECONDS", 60.0)
    monkeypatch.setattr(doctor_socketio, "_COMMAND_SECONDS", 60.0)


async def examined(url, *, ack_seconds=60.0, **options):
    reported: list[Check] = []
    target = Target(url, PATH, EVENT, ack_seconds=ack_seconds, **options)
    checks = await Doctor(target, reported.append).examine()
    assert reported == checks
    assert [check.name for check in checks if check.verdict != "ok" and not check.remedy] == []
    return {check.name: check for check in checks}, exit_code(checks)


@pytest.mark.usefixtures("patient")
async def test_examine_the_built_in_hub_passes_every_check(tmp_path):
    async with running_hub(tmp_path, timing=Timing(ping_interval=1.0, ping_timeout=120.0)) as hub:
        checks, code = await examined(hub.url, token=hub.token("link", publish=True))
        assert {check.verdict for check in checks.values()} == {"ok"}
        assert list(checks) == [
            "tcp", "upgrade", "open", "connect", "namespace", "receipt", "publish", "commands", "ping", "transports",
            "clock", "deflate", "native",
        ]  # fmt: skip
        assert "Engine.IO 4" in checks["open"].text
        assert checks["commands"].text == "echo, pong, room-joined, broadcast-sent, room-left"
        assert checks["native"].text == (
            "/ws: welcome, pong, echo, room-joined, broadcast, room-left, error, close 1000, close 4999, "
            "an invalid token 4401"
        )
        assert code == 0


@pytest.mark.usefixtures("patient")
async def test_examine_finds_the_namespaces_of_the_hub_and_uses_the_chosen_one(tmp_path):
    settings = HubSettings(namespaces=["/", "/org", "/notify"])
    timing = Timing(ping_interval=1.0, ping_timeout=120.0)
    async with running_hub(tmp_path, settings=settings, timing=timing) as hub:
        token = hub.token("link", publish=True)
        main, _ = await examined(hub.url, token=token, wait_for_ping=False)
        assert main["namespace"].text.endswith("; there are others too: /org, /notify")
        chosen, code = await examined(hub.url, token=token, namespace="/org")
        assert chosen["connect"].text == "accepted in namespace /org"
        assert chosen["namespace"].text.endswith("; there are others too: /, /notify")
        assert {check.verdict for check in chosen.values()} == {"ok"}
        assert code == 0
        wrong, code = await examined(hub.url, token=token, namespace="/orgs")
        assert wrong["connect"].text.startswith("namespace /orgs was rejected")
        assert wrong["connect"].remedy == "set WebSocket:Namespace to / or /org or /notify"
        assert code == 65


@pytest.mark.parametrize("width", [None, 40, 80, 200])
def test_table_has_its_columns_below_each_other_with_thai_and_wide_characters(width):
    checks = [
        Check("tcp", "ok", "เชื่อมต่อกับเซิร์ฟเวอร์แล้ว 接続しました", 0.0034),
        Check("publish", "warning", "ตอบรับครบแต่ไม่เรียงลำดับ" * 4, 0.25, "ตั้ง WebSocket:Window เป็น 1 " * 5),
        Check("native", "failed", "word " * 40, 12.0, "see the hub's log"),
    ]
    lines = "\n".join([header(width), *(rows_of(check, width) for check in checks)]).split("\n")
    starts = {"check": 3, "tcp": 3, "publish": 3, "native": 3, "finding": 14, "เชื่อมต่อ": 14, "ตอบรับ": 14, "→": 14}
    for word, column in starts.items():
        line = next(line for line in lines if word in line)
        assert cell_len(line[: line.index(word)]) == column
    if width is not None:
        assert max(cell_len(line) for line in lines) <= max(width, 48)
        assert {cell_len(line) for line in lines if line.endswith(("ms", "time"))} == {max(width, 48)}
    else:
        assert all(" ".join(check.text.split()) in "\n".join(lines) for check in checks)


@pytest.mark.usefixtures("patient")
async def test_examine_with_a_token_without_the_scope_publish_sends_no_notification(tmp_path):
    async with running_hub(tmp_path, timing=Timing(ping_interval=1.0, ping_timeout=120.0)) as hub:
        checks, code = await examined(hub.url, token=hub.token("ann"))
        assert checks["publish"].verdict == "warning"
        assert hub.hub.stats().notifications == 0
        assert code == 0
        refused, code = await examined(hub.url, token=hub.token("ann"), publish=True)
        assert refused["publish"].verdict == "failed"
        assert "lacks the scope publish" in refused["publish"].text
        assert code == 65


async def test_examine_with_an_invalid_token_reports_it_without_printing_it(tmp_path):
    async with running_hub(tmp_path) as hub:
        checks, code = await examined(hub.url, token="not-a-good-token")
        assert checks["connect"].verdict == "failed"
        assert "unauthorized" in checks["connect"].text
        assert not any("not-a-good-token" in rows_of(check, None) for check in checks.values())
        assert code == 65


@pytest.mark.usefixtures("patient")
async def test_examine_receipt_of_another_user_needs_a_token_of_that_user(tmp_path):
    async with running_hub(tmp_path, timing=Timing(ping_interval=1.0, ping_timeout=120.0)) as hub:
        token = hub.token("link", publish=True)
        alone, _ = await examined(hub.url, token=token, user="ann", wait_for_ping=False)
        assert alone["receipt"].verdict == "warning"
        both, code = await examined(hub.url, token=token, user="ann", listener_token=hub.token("ann"))
        assert both["receipt"].verdict == "ok"
        assert code == 0


async def test_examine_a_server_without_acknowledgements_gives_a_warning():
    server = SocketIoServer(ping_interval=1, answer=lambda *_: ...)
    await server.start()
    try:
        checks, code = await examined(server.url, token="opaque", publish=True, user="u", ack_seconds=0.5)
        assert checks["connect"].verdict == "ok"
        assert checks["ping"].verdict == "ok"
        assert checks["publish"].verdict == "warning"
        assert checks["native"].verdict == "warning"
        assert code == 0
    finally:
        await server.stop()


async def test_examine_an_engine_io_3_server_names_its_protocol():
    async def old(stage):
        await stage.send('0{"sid":"x","upgrades":[],"pingInterval":25000,"pingTimeout":5000}')
        await stage.send("40")
        async for frame in stage.ws:
            if frame.type.name == "PING":
                await stage.ws.pong(frame.data)
            elif frame.data == "2":
                await stage.send("3")
            elif frame.data.startswith("40/"):
                await stage.send(f'44{frame.data[2:].rstrip(",")},"Invalid namespace"')
            elif frame.data.startswith("42"):
                await stage.send(f"43{frame.data[2 : frame.data.index('[')]}[]")

    async with bad_server(old) as server:
        checks, code = await examined(server.url, publish=True, user="u")
        assert "Engine.IO 3" in checks["open"].text
        assert checks["namespace"].text == "an unknown one is rejected: Invalid namespace"
        assert "acknowledged in order" in checks["publish"].text
        assert "answered our Engine.IO ping" in checks["ping"].text
        assert code == 0


@pytest.mark.parametrize("limit", [1, 300])
async def test_examine_a_server_that_announces_an_impossible_limit_gives_a_warning(limit):
    async def script(stage):
        await stage.greet(max_payload=limit)

    async with bad_server(script) as server:
        checks, _ = await examined(server.url, wait_for_ping=False)
    assert checks["open"].verdict == "warning"
    assert "512 bytes are assumed" in checks["open"].text


async def test_examine_with_a_token_that_is_a_word_of_the_protocol_reads_what_the_server_says():
    """Only what is shown is masked."""

    async def server(stage):
        await stage.send('0{"sid":"pingInterval","upgrades":[],"pingInterval":25000,"pingTimeout":5000}')
        await stage.send("40")
        async for frame in stage.ws:
            if frame.type.name == "PING":
                await stage.ws.pong(frame.data)

    async with bad_server(server) as found:
        checks, _ = await examined(found.url, token="pingInterval", wait_for_ping=False)
        assert checks["open"].verdict == "ok"


async def test_examine_native_ends_when_the_server_does_not_close_after_an_invalid_token(monkeypatch):
    monkeypatch.setattr(doctor_native, "STEP_SECONDS", 0.05)
    socket = Mock(closed=False, close_code=None, send_str=AsyncMock(), receive=asyncio.Event().wait)
    async with asyncio.timeout(30):
        with pytest.raises(CheckResult, match="answered by nothing instead of 4401"):
            await doctor_native._invalid_token(DoctorConnection(socket, Quote()))


async def test_examine_a_server_that_acknowledges_out_of_order_recommends_a_window_of_1():
    async def threads(stage):
        await stage.greet()
        numbers = []
        async for frame in stage.ws:
            if frame.type.name == "TEXT" and frame.data.startswith("42"):
                numbers.append(frame.data[2 : frame.data.index("[")])
                if len(numbers) == 8:
                    for number in reversed(numbers):
                        await stage.send(f"43{number}[]")

    async with bad_server(threads) as server:
        checks, _ = await examined(server.url, publish=True, user="u", wait_for_ping=False)
        assert checks["publish"].verdict == "warning"
        assert "WebSocket:Window to 1" in checks["publish"].remedy
        assert "→ set WebSocket:Window" in rows_of(checks["publish"], None)


async def test_examine_never_follows_a_redirect_to_another_origin():
    async def handle(_):
        return web.Response(status=302, headers={"Location": "http://127.0.0.2:1/x?token=secret"})

    async with _site(handle) as url:
        checks, code = await examined(url, token="secret")
        assert "redirects to http://127.0.0.2:1/x, which is not followed" in checks["upgrade"].text
        assert code == 69


async def test_examine_a_server_whose_clock_differs_gives_a_warning():
    async def handle(request):
        if request.query["transport"] == "polling":
            return web.Response(status=400, headers={"Date": "Thu, 01 Jan 2015 00:00:00 GMT"})
        return web.json_response({"code": 0, "message": "Transport unknown"}, status=400)

    async with _site(handle) as url:
        checks, _ = await examined(url)
        assert checks["clock"].verdict == "warning"
        assert "behind ours" in checks["clock"].text
        assert 'add "polling" to WebSocket:Transports' in checks["upgrade"].text


@pytest.mark.parametrize(
    ("status", "hint"), [(404, "WebSocket:Path"), (502, "is the server running"), (500, "HTTP 500"), (426, "proxy")]
)
async def test_examine_a_server_that_rejects_the_upgrade_gives_a_hint_for_the_status(status, hint):
    async def handle(_):
        return web.Response(status=status)

    async with _site(handle) as url:
        checks, code = await examined(url)
        assert hint in checks["upgrade"].text
        assert code == 69


async def test_examine_a_server_that_never_pings_fails():
    async def silent(stage):
        await stage.greet(ping_interval=100)
        async for message in stage.ws:
            if message.type.name == "PING":
                await stage.ws.pong(message.data)

    async with bad_server(silent) as server:
        checks, code = await examined(server.url, ack_seconds=1.0)
        assert checks["ping"].verdict == "failed"
        assert "no Engine.IO ping" in checks["ping"].text
        assert checks["namespace"].verdict == "warning"
        assert code == 65


async def test_examine_an_unused_port_exits_with_69():
    checks, code = await examined(f"http://127.0.0.1:{free_port()}")
    assert list(checks) == ["tcp"]
    assert code == 69


async def test_doctor_command_examines_the_running_service(tmp_path):
    port = free_port()
    settings = [f"--Http:Url=http://127.0.0.1:{port}", f"--WebSocket:Url=http://127.0.0.1:{port}"]
    async with running_worker(tmp_path, *settings):
        done = await asyncio.to_thread(command, tmp_path, "doctor", "ws", "--quick", *settings)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "✅ receipt" in done.stdout
        as_json = await asyncio.to_thread(command, tmp_path, "doctor", "ws", "--quick", "--json", *settings)
        report = orjson.loads(as_json.stdout)
        assert report["healthy"] is True
        assert {check["name"] for check in report["checks"]} > {"tcp", "open", "publish", "native"}
        assert all(check["verdict"] == "ok" or check["remedy"] for check in report["checks"])


def test_doctor_command_with_an_unusable_address_exits_with_64_or_69(tmp_path):
    done = command(tmp_path, "doctor", "ws", "ftp://nowhere")
    assert done.returncode == 64
    assert "not an address" in done.stderr
    gone = command(tmp_path, "doctor", "ws", f"http://127.0.0.1:{free_port()}")
    assert gone.returncode == 69
    assert "\n❌ tcp" in gone.stdout
    assert "→ start the server, or correct WebSocket:Url" in gone.stdout


def test_target_for_another_server_has_no_configured_token_or_header(tmp_path):
    settings = ["--WebSocket:Url=https://hub.example", "--WebSocket:Token=secret", "--WebSocket:Headers:X-Key=secret"]
    loaded = load(settings, environ={}, cwd=tmp_path)
    ours = target_for(loaded, "https://hub.example", None)
    other = target_for(loaded, "https://elsewhere.example", None)
    assert (ours.token, ours.headers) == ("secret", {"X-Key": "secret"})
    assert (other.token, other.headers) == (None, {})


@pytest.mark.parametrize("url", ["hub.example:8443", "wss://hub.example:8443/path?x"])
def test_server_address_completes_the_scheme_and_drops_the_path(url):
    assert server_address(url).endswith("://hub.example:8443")


@contextlib.asynccontextmanager
async def _site(handle):
    app = web.Application()
    app.router.add_route("*", "/{any:.*}", handle)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()
