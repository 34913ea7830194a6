"""Every hot setting takes effect on the running components, and what must happen does not depend on listeners."""

import asyncio
import contextlib
import json
import logging
import ssl
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from loguru import logger

from config.link_settings import WebSocketSettings
from config.loader import LoadedSettings
from config.merge import Path as KeyPath
from config.merge import key_text
from config.reload import is_hot
from config.schema import SectionShape, shape_of
from config.settings import Settings
from tests.support.certificates import made_for
from tests.support.event_collector import EventCollector
from tests.support.eventually import eventually
from tests.support.site import Site
from worker.cli.commands.service import start_logs
from worker.core.claim_rules import Limit
from worker.core.clock import Clock
from worker.core.event_bus import EventBus
from worker.core.events import SettingsReloaded
from worker.notifiers.socketio.dialect import DialectConfig
from worker.runtime.job_request import JobRequest
from worker.service.build import build
from worker.service.components import Host, ServiceComponents, ShutdownSignal
from worker.service.reload import SettingsSource
from worker.service.stores import open_service_store
from worker.service.systemd import Systemd
from worker.stores.sqlite.store import SqliteStore

SHA256 = "0" * 64
CERTIFICATE = "ca.pem"
BEFORE: Mapping[str, Any] = {
    "WebSocket": {"Url": "https://127.0.0.1:9", "Progress": False},
    "Worker": {"Handlers": ["tests.support.jobs"]},
    "Logging": {"Console": {"FormatterName": "Simple"}},
}


def hot_leaves(shape: SectionShape, path: KeyPath = ()) -> Iterator[str]:
    """Yield every single key that a reload changes, those inside hot sections included."""
    for key in shape.keys.values():
        here = (*path, key.name)
        if isinstance(key.shape, SectionShape):
            yield from hot_leaves(key.shape, here)
        elif is_hot(here):
            yield key_text(here)


@dataclass(frozen=True)
class Probe:
    """A new value for a setting, and how it shows in the running service."""

    value: Any
    observe: Callable[[ServiceComponents], Any]
    expected: Any


def notifier_options(components: ServiceComponents) -> Any:
    return components.delivery.notifier._read_options_now()


def store_of(components: ServiceComponents) -> SqliteStore:
    store = components.jobs.store
    assert isinstance(store, SqliteStore)
    return store


def session_config(components: ServiceComponents) -> Any:
    return components.delivery.notifier._new_session()._config


def supervisor(components: ServiceComponents) -> Any:
    return components.delivery.notifier._supervisor


def of_section(section: str, *names: str) -> Callable[[ServiceComponents], Any]:
    """Return a function that reads a handler setting where attempts and intake take it from."""

    def observe(components: ServiceComponents) -> Any:
        values = []
        for sections in (components.jobs.worker.executor.sections, components.jobs.service.sections):
            value = sections[section]
            for name in names:
                value = getattr(value, name)
            values.append(value)
        assert values[0] == values[1]
        return values[0]

    return observe


def link_settings(it: ServiceComponents) -> WebSocketSettings:
    return it.delivery.notifier._settings


def dialects(it: ServiceComponents) -> DialectConfig:
    """Return what the next attempt may try."""
    it.delivery.notifier.begin()
    return it.delivery.notifier._dialects._config


PROBES: Mapping[str, Probe] = {
    "WebSocket:DefaultUserId": Probe("u-9", lambda it: it.jobs.service.default_user, "u-9"),
    "WebSocket:ReconnectionDelay": Probe(1234, lambda it: supervisor(it)._backoff.base, 1.234),
    "WebSocket:ReconnectionAttempts": Probe(
        7, lambda it: (supervisor(it)._backoff.attempts, it.delivery.notifier._link.attempts_allowed), (7, 7)
    ),
    "WebSocket:Timeout": Probe(4321, lambda it: supervisor(it)._timings.timeout, 4.321),
    "WebSocket:AutoReconnect": Probe(False, lambda it: supervisor(it)._timings.auto_reconnect, False),
    "WebSocket:TaskDelayOnError": Probe(
        777,
        lambda it: (
            it.jobs.worker.pause_on_error,
            it.delivery.relay.pause_on_error,
            supervisor(it)._timings.between_rounds,
        ),
        (0.777, 0.777, 0.777),
    ),
    "WebSocket:MaxReconnectionDelay": Probe(9876, lambda it: supervisor(it)._backoff.cap, 9.876),
    "WebSocket:MinUptime": Probe(321, lambda it: supervisor(it)._timings.min_uptime, 0.321),
    "WebSocket:SlowRetryDelay": Probe(654, lambda it: supervisor(it)._timings.slow_retry, 0.654),
    "WebSocket:Confirmation": Probe("fence", lambda it: session_config(it).confirmation, "fence"),
    "WebSocket:AckTimeout": Probe(2500, lambda it: session_config(it).ack_timeout, 2.5),
    "WebSocket:EngineIo": Probe("3", lambda it: dialects(it).engine_io, "3"),
    "WebSocket:Transports": Probe(["polling"], lambda it: dialects(it).transports, ("polling",)),
    "WebSocket:Query": Probe({"team": "7"}, lambda it: notifier_options(it).query, {"team": "7"}),
    "WebSocket:Proxy": Probe("http://proxy:1", lambda it: notifier_options(it).proxy, "http://proxy:1"),
    "WebSocket:KeepAlive": Probe(2500, lambda it: session_config(it).keep_alive, 2.5),
    "WebSocket:CertificateFile": Probe(CERTIFICATE, lambda it: link_settings(it).certificate_file, CERTIFICATE),
    "WebSocket:KeyFile": Probe(CERTIFICATE, lambda it: link_settings(it).key_file, CERTIFICATE),
    "WebSocket:MaxSendAttempts": Probe(9, lambda it: it.delivery.notifier._ledger.policy.max_attempts, 9),
    "WebSocket:DeadAfter": Probe(9000, lambda it: it.delivery.notifier._ledger.policy.dead_after, 9.0),
    "WebSocket:Window": Probe(17, lambda it: session_config(it).window, 17),
    "WebSocket:WindowBytes": Probe(70_000, lambda it: session_config(it).window_bytes, 70_000),
    "WebSocket:Token": Probe(
        "token-of-the-link",
        lambda it: (notifier_options(it).auth, it.jobs.worker.executor.redact("token-of-the-link")),
        ({"token": "token-of-the-link"}, "***"),
    ),
    "WebSocket:TokenFile": Probe(CERTIFICATE, lambda it: notifier_options(it).auth is not None, True),
    "WebSocket:Headers": Probe({"X-A": "header-b"}, lambda it: notifier_options(it).headers, {"X-A": "header-b"}),
    "WebSocket:VerifyTls": Probe(False, lambda it: notifier_options(it).tls.verify_mode, ssl.CERT_NONE),
    "WebSocket:CaFile": Probe(CERTIFICATE, lambda it: notifier_options(it).tls.cert_store_stats()["x509"], 1),
    "WebSocket:IncludeStackTrace": Probe(
        False,
        lambda it: (
            it.jobs.worker.notification_format.include_stack_trace,
            it.jobs.service.notification_format.include_stack_trace,
        ),
        (False, False),
    ),
    "WebSocket:IncludeResult": Probe(True, lambda it: it.jobs.worker.notification_format.include_result, True),
    "WebSocket:Progress": Probe(True, lambda it: len(it.jobs.progress._listeners), 1),
    "Worker:Concurrency": Probe(3, lambda it: it.jobs.worker.concurrency, 3),
    "Worker:Processes": Probe(1, lambda it: it.jobs.worker.executor.pool.size, 1),
    "Worker:MaxAttempts": Probe(9, lambda it: it.jobs.service.max_attempts, 9),
    "Worker:BackoffDelay": Probe(1500, lambda it: it.jobs.worker.policy.base, 1.5),
    "Worker:MaxBackoffDelay": Probe(250000, lambda it: it.jobs.worker.policy.cap, 250.0),
    "Worker:Timeout": Probe(45000, lambda it: it.jobs.worker.executor.timeout, 45.0),
    "Worker:MaxResult": Probe(5000, lambda it: it.jobs.worker.executor.max_result, 5000),
    "Worker:Execution": Probe(
        {"noop": "thread"}, lambda it: dict(it.jobs.worker.executor.overrides), {"noop": "thread"}
    ),
    "Worker:Limits": Probe(
        [{"Scope": "user", "Running": 3}], lambda it: store_of(it).claim_rules.limits, [Limit("user", running=3)]
    ),
    "Queue:Retention": Probe(86400000, lambda it: it.maintenance.pruner.retention, 86400.0),
    "Queue:AuditRetention": Probe(86400000, lambda it: it.maintenance.pruner.audit_retention, 86400.0),
    "Http:ApiKeys": Probe(
        [{"Name": "new", "Sha256": SHA256}], lambda it: [key.name for key in it.api.authenticator.keys], ["new"]
    ),
    "Http:AllowedHosts": Probe(
        ["hr.example"], lambda it: it.api.authenticator.allowed_hosts, frozenset({"hr.example"})
    ),
    "Http:RateLimit": Probe(50, lambda it: it.api.authenticator.calls.rate, 50),
    "Http:FailedLogins": Probe(5, lambda it: it.api.authenticator.guesses.burst, 5),
    "Insignia:CriteriaPath": Probe(
        "criteria.json", lambda it: Path(of_section("Insignia", "criteria_path")(it) or "").name, "criteria.json"
    ),
    "Insignia:DataDirectory": Probe(
        "lists", lambda it: Path(of_section("Insignia", "data_directory")(it)).name, "lists"
    ),
    "Insignia:OutputDirectory": Probe(
        "made", lambda it: Path(of_section("Insignia", "output_directory")(it)).name, "made"
    ),
    "Insignia:AbsoluteOutput": Probe(True, of_section("Insignia", "absolute_output"), True),
    "Insignia:KeepReplaced": Probe(90000, of_section("Insignia", "keep_replaced"), 90000.0),
    "Insignia:Sequence": Probe("strict_next", of_section("Insignia", "sequence"), "strict_next"),
    "Insignia:BadRowLimit": Probe(12.5, of_section("Insignia", "bad_row_limit"), 12.5),
    "Handlers:Http:Allow": Probe(
        [{"Url": "https://api.example/"}],
        lambda it: [target.url for target in of_section("Handlers", "http", "allow")(it)],
        ["https://api.example/"],
    ),
    "Handlers:Http:Timeout": Probe(1234, of_section("Handlers", "http", "timeout"), 1234),
    "Handlers:Http:MaxAnswer": Probe(1000, of_section("Handlers", "http", "max_answer"), 1000),
    "Handlers:Http:MaxRedirects": Probe(2, of_section("Handlers", "http", "max_redirects"), 2),
    "Handlers:Http:CaFile": Probe(
        CERTIFICATE, lambda it: Path(of_section("Handlers", "http", "ca_file")(it) or "").name, CERTIFICATE
    ),
    "Handlers:Command:Programs": Probe(
        [{"Name": "list", "Path": "/bin/ls"}],
        lambda it: [program.name for program in of_section("Handlers", "command", "programs")(it)],
        ["list"],
    ),
    "Handlers:Command:MaxOutput": Probe(1000, of_section("Handlers", "command", "max_output"), 1000),
    "Handlers:Command:Grace": Probe(100, of_section("Handlers", "command", "grace"), 100),
    "HostOptions:ShutdownTimeout": Probe(3, lambda it: it.loaded.settings.host_options.shutdown_timeout, 3.0),
}
LOG_PROBES: Mapping[str, tuple[Any, Callable[[str], bool]]] = {
    "Logging:LogLevel": ({"Default": "Debug"}, lambda text: "a DEBUG line" in text),
    "Logging:Console:FormatterName": ("Json", lambda text: text.startswith("{")),
    "Logging:Emoji": (False, lambda text: "🚀" not in text),
}
"""For each setting of the log: a new value, and what then holds for a line at DEBUG and one at INFO."""


def with_setting(key: str, value: Any) -> str:
    """Return a settings file in which one setting differs from `BEFORE`."""
    tree = json.loads(json.dumps(BEFORE))
    *sections, name = key.split(":")
    place = tree
    for section in sections:
        place = place.setdefault(section, {})
    place[name] = value
    return json.dumps(tree)


@dataclass
class Service:
    """A built service that is not running, but for its relay and link."""

    site: Site
    components: ServiceComponents
    collector: EventCollector

    async def reload_with(self, key: str, value: Any) -> SettingsReloaded:
        self.site.write(with_setting(key, value))
        await self.components.reloader.reload()
        assert self.components.reloader.problem == ""
        [event] = self.collector.of(SettingsReloaded)
        return event


class DeafBus(EventBus):
    """An event bus whose listeners receive nothing."""

    def __call__(self, event: object) -> None:
        """Drop the event."""


@contextlib.asynccontextmanager
async def a_service(tmp_path: Path, bus: type[EventBus] = EventBus, **sections: Any) -> AsyncIterator[Service]:
    site = Site(tmp_path, {"DOTNET_ENVIRONMENT": "Development"})
    site.write(json.dumps({**BEFORE, **sections}))
    made_for("localhost", site.here).rename(site.here / CERTIFICATE)
    collector = EventCollector()
    host = Host(Clock(), bus(collector), Systemd(None, None), ShutdownSignal())
    stop = asyncio.Event()
    async with contextlib.AsyncExitStack() as stack:
        loaded = site.load()
        store = await stack.enter_async_context(open_service_store(loaded, host.clock, host.emit))

        def apply_log_settings(reloaded: LoadedSettings) -> None:
            start_logs(reloaded)

        components = await build(stack, loaded, host, store, SettingsSource(site.load, apply_log_settings))
        link = asyncio.ensure_future(components.delivery.relay.run(stop))
        await eventually(lambda: components.delivery.notifier._supervisor is not None)
        yield Service(site, components, collector)
        stop.set()
        link.cancel()
        await asyncio.wait([link])


@pytest.fixture
def log_settings_restored() -> Iterator[None]:
    root = logging.getLogger()
    before = root.handlers[:], root.level
    levels = {name: logging.getLogger(name).level for name in ("socketio", "engineio", "aiohttp.access", "asyncio")}
    yield
    logger.remove()
    root.handlers[:], root.level = before
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)


def test_every_hot_setting_has_a_probe() -> None:
    assert sorted({*PROBES, *LOG_PROBES}) == sorted(hot_leaves(shape_of(Settings)))


@pytest.mark.usefixtures("log_settings_restored")
@pytest.mark.parametrize("key", PROBES)
async def test_reload_applies_a_hot_setting_to_the_running_component(tmp_path: Path, key: str) -> None:
    probe = PROBES[key]
    async with a_service(tmp_path) as service:
        assert probe.observe(service.components) != probe.expected
        reloaded = await service.reload_with(key, probe.value)
        assert reloaded == SettingsReloaded((key,), ())
        assert probe.observe(service.components) == probe.expected


@pytest.mark.usefixtures("log_settings_restored")
@pytest.mark.parametrize("key", LOG_PROBES)
async def test_reload_applies_a_hot_setting_to_the_log(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], key: str
) -> None:
    value, holds = LOG_PROBES[key]

    def written() -> str:
        capsys.readouterr()
        for level in ("DEBUG", "INFO"):
            logger.bind(category="worker", emoji="🚀", event="probe").log(level, f"a {level} line")
        return capsys.readouterr().err

    async with a_service(tmp_path) as service:
        start_logs(service.components.loaded)
        assert not holds(written())
        assert await service.reload_with(key, value) == SettingsReloaded((key,), ())
        assert holds(written())


async def test_reload_leaves_a_setting_that_needs_a_restart_as_it_was(tmp_path: Path) -> None:
    async with a_service(tmp_path) as service:
        reloaded = await service.reload_with("Queue:MaxBytes", 2**30)
        assert reloaded == SettingsReloaded((), ("Queue:MaxBytes",))
        assert service.components.loaded.settings.queue.max_bytes == 10 * 2**30


# -- what must happen is called, not listened for ------------------------------------------------------------------


@pytest.mark.usefixtures("log_settings_restored")
async def test_end_of_a_job_wakes_a_waiting_request_without_any_listener(tmp_path: Path) -> None:
    async with a_service(tmp_path, DeafBus) as service:
        jobs, stop = service.components.jobs, asyncio.Event()
        settling = asyncio.ensure_future(jobs.worker.run_settling())
        accepted = await jobs.service.submit(JobRequest.model_validate({"taskType": "noop", "userId": "u"}))
        waiting = asyncio.ensure_future(jobs.service.wait(accepted.job_id, 3600))
        await eventually(lambda: jobs.service._waiters)
        claiming = asyncio.ensure_future(jobs.worker.run(stop))
        async with asyncio.timeout(30):
            record = await waiting
        assert record.state == "succeeded"
        stop.set()
        await claiming
        settling.cancel()
        await asyncio.wait([settling])


async def test_notification_shown_in_the_hub_is_recorded_without_any_listener(tmp_path: Path) -> None:
    client = SimpleNamespace(id="c-1", identity=SimpleNamespace(user="u-1"), forget_sent=lambda _id: True)
    async with a_service(tmp_path, DeafBus, Hub={"Enabled": "true"}) as service:
        delivery = service.components.delivery
        assert delivery.hub is not None
        delivery.hub.hub.on_shown(client, {"notificationId": "n-1"})  # type: ignore[arg-type]  # a part of one
        assert list(delivery.read_receipts._shown) == ["n-1"]


async def test_pruning_wakes_the_cleaner_of_uploads_without_any_listener(tmp_path: Path) -> None:
    async with a_service(tmp_path, DeafBus) as service:
        maintenance = service.components.maintenance
        maintenance.upload_cleaner.wake.clear()
        maintenance.pruner.on_pruned()
        assert maintenance.upload_cleaner.wake.is_set()
