"""`doctor` finds what the proxy in front does not pass on, and says what to change in it."""

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from config.loader import LoadedSettings
from tests.support.nginx import proxy_with, running_nginx
from tests.support.ports import free_port
from tests.support.process import running_worker
from tests.support.site import Site
from worker.cli import doctor_proxy
from worker.cli.doctor import Check
from worker.cli.doctor_machine import examine

_PASSING = "proxy_pass http://127.0.0.1:{port}; proxy_http_version 1.1; client_max_body_size 100m;"
_UPGRADE = "proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection upgrade;"
_EVERYTHING = f"location / {{{{ {_PASSING} {_UPGRADE} }}}}"
BAD_PROXIES = {
    "no upgrade": (f"location / {{{{ {_PASSING} }}}}", "failed", "WebSockets do not pass", "Upgrade"),
    "no long-polling": (
        _EVERYTHING + " location /api/v1/org-socket {{ return 404; }}",
        "warning",
        "long-polling does not pass",
        "WebSocket:Path",
    ),
    "small bodies": (
        _EVERYTHING.replace("100m", "1m"),
        "warning",
        "rejects uploads of 67,108,864 bytes",
        "client_max_body_size 67108864",
    ),
    "another program": (
        "location / {{ return 200 hello; }}",
        "failed",
        "/livez answers with HTTP 200",
        "Http:PublicUrl",
    ),
}


def _proxy_check(site: Site, state: Path, url: str, *settings: str) -> Check:
    loaded: LoadedSettings = replace(site.load(f"--Http:PublicUrl={url}", *settings), state_dir=state)
    [check] = [check for check in examine(loaded, lambda _: None, {}) if check.name == "proxy"]
    return check


@pytest.mark.timeout(900)
async def test_what_does_not_pass_through_the_proxy_is_found_with_its_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor_proxy, "STEP_SECONDS", 60.0)  # through two servers, each in a process of its own
    site, port = Site(tmp_path / "site"), free_port()
    url = f"http://127.0.0.1:{port}"
    service = [f"--Http:Url={url}", f"--WebSocket:Url={url}", "--Http:TrustedProxies:0=127.0.0.1"]
    async with running_worker(tmp_path, *service) as worker:
        with running_nginx(tmp_path / "shipped", port) as nginx:
            trust = f"--WebSocket:CaFile={tmp_path / 'shipped' / 'fullchain.pem'}"
            check = await asyncio.to_thread(_proxy_check, site, worker.state, nginx.url, trust)
            assert (check.verdict, check.remedy) == ("ok", ""), check
            assert (
                f"requests, WebSockets, long-polling, uploads of 67,108,864 bytes pass through {nginx.url}"
                in check.text
            )
            check = await asyncio.to_thread(_proxy_check, site, worker.state, nginx.url)
            assert (check.verdict, "CERTIFICATE_VERIFY_FAILED" in check.text) == ("failed", True)
        for name, (locations, verdict, text, remedy) in BAD_PROXIES.items():
            with proxy_with(tmp_path / name.replace(" ", "-"), locations.format(port=port)) as proxy:
                check = await asyncio.to_thread(_proxy_check, site, worker.state, proxy)
            assert (check.verdict, text in check.text, remedy in check.remedy) == (verdict, True, True), check
        check = await asyncio.to_thread(_proxy_check, site, worker.state, f"http://127.0.0.1:{free_port()}")
        assert (check.verdict, "does not answer" in check.text, "start the proxy" in check.remedy) == (
            "failed",
            True,
            True,
        )


def test_proxy_is_not_examined_while_no_service_runs(tmp_path: Path) -> None:
    check = _proxy_check(Site(tmp_path / "site"), tmp_path, "http://127.0.0.1:1")
    assert (check.verdict, "when the service runs" in check.text) == ("ok", True)
