"""Everything below a prefix of the path, as behind a proxy that passes it on, and behind one that removes it."""

from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio
from aiohttp import web

from tests.support.dashboard import Service, a_service
from worker.api.server import serve_tcp
from worker.net.path_base import link_to


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def service(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Service]:
    folder: Path = tmp_path_factory.mktemp("prefix")
    origins = "--Hub:AllowedOrigins:0=https://portal.example"
    async with a_service(folder, "--Http:PathBase=/worker", origins) as service:
        yield service


@pytest.mark.parametrize(
    ("sent", "seen"),
    [
        ("/worker/a%2Fb/ก?x=%20y&z", "/a%2Fb/%E0%B8%81?x=%20y&z"),
        ("/a?x=1", "/a?x=1"),
        ("/worker/", "/"),
        ("/worker", "/worker"),
        ("/workers/a", "/workers/a"),
        ("/worker//a", "//a"),
    ],
)
async def test_prefix_is_removed_from_requests_and_put_before_links(sent: str, seen: str) -> None:
    async def answer(request: web.Request) -> web.Response:
        return web.json_response([request.raw_path, request.path, link_to(request, "/x")])

    app = web.Application()
    app.router.add_get("/{path:.*}", answer)
    async with (
        serve_tcp(app, "http://127.0.0.1:0", lambda _address, _reason: None, base="/worker") as url,
        aiohttp.ClientSession() as session,
        session.get(url + sent) as response,
    ):
        raw, path, link = await response.json()
    assert (raw, link) == (seen, "/worker/x")
    assert path in (seen.partition("?")[0], "/a/b/ก")


@pytest.mark.asyncio(loop_scope="module")
async def test_description_of_the_hub_has_the_paths_that_clients_call(service: Service) -> None:
    async with aiohttp.ClientSession() as session, session.get(f"{service.url}/worker/asyncapi.json") as response:
        channels = (await response.json())["channels"]
    assert {name: channel["address"] for name, channel in channels.items()} == {
        "native": "/worker/ws",
        "nativeJob": "/worker/ws/tasks/{jobId}",
        "socketIo": "/worker/api/v1/org-socket/",
    }


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("prefix", ["/worker", ""])
async def test_links_session_and_hub_carry_the_prefix(service: Service, prefix: str) -> None:
    async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as session:
        login = await session.post(f"{service.url}{prefix}/api/v1/session", json={"key": service.key})
        (cookie,) = login.headers.getall("Set-Cookie")
        assert "Path=/worker;" in cookie
        hub = (await login.json())["hub"]
        assert hub["path"] == "/worker/ws"
        async with session.ws_connect(service.url + hub["path"]) as socket:
            await socket.send_json({"type": "auth", "data": {"token": hub["token"]}})
            assert (await socket.receive_json())["type"] == "welcome"
        job = {"taskType": "letters.send", "userId": "ann", "payload": {}}
        headers = {"Authorization": f"Bearer {service.key}"}
        accepted = await session.post(f"{service.url}{prefix}/api/v1/jobs", json=job, headers=headers)
        answer = await accepted.json()
        assert accepted.headers["Location"] == answer["links"]["self"] == f"/worker/api/v1/jobs/{answer['jobId']}"


@pytest.mark.asyncio(loop_scope="module")
async def test_prefix_without_a_slash_leads_to_the_dashboard(service: Service) -> None:
    async with aiohttp.ClientSession() as session:
        async with session.get(f"{service.url}/worker", allow_redirects=False) as response:
            assert (response.status, response.headers["Location"]) == (308, "/worker/")
        async with session.get(f"{service.url}/worker/") as response:
            assert 'src="page/dashboard/app.js"' in await response.text()


@pytest.mark.asyncio(loop_scope="module")
async def test_pages_of_allowed_origins_may_import_the_modules_of_the_hub(service: Service) -> None:
    module, view = "/page/resilient-websocket.js", "/page/dashboard/app.js"
    async with aiohttp.ClientSession() as session:
        for path, origin, allowed in [
            (module, "https://portal.example", "https://portal.example"),
            (module, "https://other.example", None),
            (view, "https://portal.example", None),
        ]:
            async with session.get(service.url + path, headers={"Origin": origin}) as response:
                assert response.headers.get("Access-Control-Allow-Origin") == allowed
                assert ("Origin" in response.headers["Vary"]) == (path == module)


@pytest.mark.asyncio(loop_scope="module")
async def test_description_of_the_api_names_the_prefix_as_its_server(service: Service) -> None:
    async with aiohttp.ClientSession() as session:
        for path in ("/worker/openapi.json", "/openapi.json"):
            async with session.get(service.url + path) as response:
                assert (await response.json())["servers"] == [{"url": "/worker"}]
