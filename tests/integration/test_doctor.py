"""`doctor ws` says of each server what it is: ours, python-socketio's, an old one, a broken one, none at all."""

import asyncio
import contextlib

import orjson
import pytest
from aiohttp import web

from tests.support.bad_servers import bad_server
from tests.support.hub import EVENT, PATH, running_hub
from tests.support.process import command, free_port, running_worker
from tests.support.socketio_server import SocketIoServer
from worker.doctor import Doctor, Patient, exit_code, line_of, reachable
from worker.hub.engine import Timing


async def examined(url, **options):
    heard = []
    checks = await Doctor(Patient(url, PATH, EVENT, **options), heard.append).examine()
    assert heard == checks
    return {check.name: check for check in checks}, exit_code(checks)


async def test_our_own_hub_is_well(tmp_path):
    async with running_hub(tmp_path, timing=Timing(ping_interval=1.0)) as hub:
        checks, code = await examined(hub.url, token=hub.token("link", publish=True))
        assert {check.verdict for check in checks.values()} == {"ok"}
        assert list(checks) == [
            "tcp", "upgrade", "open", "connect", "namespace", "receipt", "publish", "ping", "native",
        ]  # fmt: skip
        assert "Engine.IO 4" in checks["open"].text
        assert code == 0


async def test_a_token_that_may_only_listen_publishes_nothing(tmp_path):
    async with running_hub(tmp_path, timing=Timing(ping_interval=1.0)) as hub:
        checks, code = await examined(hub.url, token=hub.token("ann"))
        assert checks["publish"].verdict == "warning"
        assert hub.hub.figures().notifications == 0
        assert code == 0
        refused, code = await examined(hub.url, token=hub.token("ann"), publish=True)
        assert refused["publish"].verdict == "failed"
        assert "lacks the scope publish" in refused["publish"].text
        assert code == 65


async def test_a_bad_token_is_named_and_never_printed(tmp_path):
    async with running_hub(tmp_path) as hub:
        checks, code = await examined(hub.url, token="not-a-good-token")
        assert checks["connect"].verdict == "failed"
        assert "unauthorized" in checks["connect"].text
        assert not any("not-a-good-token" in line_of(check) for check in checks.values())
        assert code == 65


async def test_another_users_notification_needs_his_own_listener(tmp_path):
    async with running_hub(tmp_path, timing=Timing(ping_interval=1.0)) as hub:
        token = hub.token("link", publish=True)
        alone, _ = await examined(hub.url, token=token, user="ann", wait_for_ping=False)
        assert alone["receipt"].verdict == "warning"
        both, code = await examined(hub.url, token=token, user="ann", listener_token=hub.token("ann"))
        assert both["receipt"].verdict == "ok"
        assert code == 0


async def test_a_python_socketio_server_without_acks_is_well_enough():
    server = SocketIoServer(ping_interval=1, answer=lambda *_: ...)
    await server.start()
    try:
        checks, code = await examined(server.url, token="opaque", publish=True, user="u", patience=0.5)
        assert checks["connect"].verdict == "ok"
        assert checks["ping"].verdict == "ok"
        assert checks["publish"].verdict == "warning"
        assert checks["native"].verdict == "warning"
        assert code == 0
    finally:
        await server.stop()


async def test_an_engine_io_3_server_is_named():
    async def old(stage):
        await stage.send('0{"sid":"x","upgrades":[],"pingInterval":25000,"pingTimeout":5000}')
        await stage.send("40")
        await stage.hold()

    async with bad_server(old) as server:
        checks, code = await examined(server.url)
        assert "Engine.IO 3" in checks["open"].text
        assert code == 65


async def test_an_old_server_that_refuses_the_upgrade_is_named_too():
    async def handle(request):
        if request.query.get("EIO") == "3":
            return web.Response(text='96:0{"sid":"x","upgrades":["websocket"],"pingInterval":25000,"pingTimeout":5000}')
        return web.json_response({"code": 5, "message": "Unsupported protocol version"}, status=400)

    async with _site(handle) as url:
        checks, code = await examined(url)
        assert "Engine.IO 3" in checks["upgrade"].text
        assert code == 69


@pytest.mark.parametrize(("status", "hint"), [(404, "WebSocket:Path"), (502, "is the hub up"), (500, "proxy")])
async def test_what_stands_in_the_way_is_guessed_at(status, hint):
    async def handle(_):
        return web.Response(status=status)

    async with _site(handle) as url:
        checks, code = await examined(url)
        assert hint in checks["upgrade"].text
        assert code == 69


async def test_a_server_that_never_pings_is_ill():
    async def silent(stage):
        await stage.greet(ping_interval=100)
        async for message in stage.ws:
            if message.type.name == "PING":
                await stage.ws.pong(message.data)

    async with bad_server(silent) as server:
        checks, code = await examined(server.url, patience=1.0)
        assert checks["ping"].verdict == "failed"
        assert "no Engine.IO ping" in checks["ping"].text
        assert checks["namespace"].verdict == "warning"
        assert code == 65


async def test_nobody_there_is_69():
    checks, code = await examined(f"http://127.0.0.1:{free_port()}")
    assert list(checks) == ["tcp"]
    assert code == 69


async def test_the_command_examines_the_running_service(tmp_path):
    port = free_port()
    settings = [f"--Http:Url=http://127.0.0.1:{port}", f"--WebSocket:Url=http://127.0.0.1:{port}"]
    async with running_worker(tmp_path, *settings):
        done = await asyncio.to_thread(command, tmp_path, "doctor", "ws", "--quick", *settings)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "✅ receipt" in done.stdout
        as_json = await asyncio.to_thread(command, tmp_path, "doctor", "ws", "--quick", "--json", *settings)
        told = orjson.loads(as_json.stdout)
        assert told["healthy"] is True
        assert {check["name"] for check in told["checks"]} > {"tcp", "open", "publish", "native"}


def test_the_command_says_what_is_no_address(tmp_path):
    done = command(tmp_path, "doctor", "ws", "ftp://nowhere")
    assert done.returncode == 64
    assert "no address" in done.stderr
    gone = command(tmp_path, "doctor", "ws", f"http://127.0.0.1:{free_port()}")
    assert gone.returncode == 69
    assert gone.stdout.startswith("❌ tcp")


def test_a_configured_token_is_for_its_own_server_alone(tmp_path):
    from config.layers import load
    from worker.doctor import patient_for

    settings = ["--WebSocket:Url=https://hub.example", "--WebSocket:Token=secret", "--WebSocket:Headers:X-Key=secret"]
    loaded = load(settings, environ={}, cwd=tmp_path)
    ours = patient_for(loaded, "https://hub.example", None)
    other = patient_for(loaded, "https://elsewhere.example", None)
    assert (ours.token, ours.headers) == ("secret", {"X-Key": "secret"})
    assert (other.token, other.headers) == (None, {})


@pytest.mark.parametrize("url", ["hub.example:8443", "wss://hub.example:8443/path?x"])
def test_an_address_may_be_short(url):
    assert reachable(url).endswith("://hub.example:8443")


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
