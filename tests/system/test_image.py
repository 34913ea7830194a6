"""The image as it is deployed: hardened, stopped, out of memory, and with settings that Kubernetes replaces."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest

from tests.support.image import HARDENED, Container, build, container
from tests.support.repository import ROOT

STATE = "/var/lib/insignia-worker"
HANDLERS = ROOT / "tests" / "support" / "unit_handlers.py"


@pytest.fixture(scope="module", autouse=True)
def _image() -> None:
    build()


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A folder with the handlers, readable by the image's user."""
    for folder in (tmp_path, *tmp_path.parents[:3]):
        folder.chmod(folder.stat().st_mode | 0o755)
    folder = tmp_path / "site"
    folder.mkdir()
    shutil.copy(HANDLERS, folder)
    return folder


@pytest.fixture
def worker(site: Path) -> Iterator[Container]:
    """The hardened container with the handlers, started."""
    with container(*HARDENED, *with_handlers(site)) as made:
        made.start()
        yield made


def with_handlers(site: Path) -> tuple[str, ...]:
    variables = ("PYTHONPATH=/site", "Worker__Handlers__0=unit_handlers", "Worker__MaxAttempts=1")
    return ("-v", f"{site}:/site:ro", *(word for variable in variables for word in ("--env", variable)))


def touch(worker: Container, name: str) -> None:
    worker.must("exec", worker.name, "touch", f"{STATE}/{name}")


def until_begun(worker: Container) -> None:
    worker.until(lambda: worker.run("test", "-e", f"{STATE}/begun").returncode == 0, "the job runs")


def test_hardened_container_runs_jobs_and_writes_only_its_state(worker: Container) -> None:
    touch(worker, "go")
    worker.until_job(worker.enqueue("waits"), "succeeded")

    status = dict(
        line.split(":\t") for line in worker.run("cat", "/proc/1/status").stdout.splitlines() if ":\t" in line
    )
    assert (status["Uid"].split()[0], status["CapEff"], status["NoNewPrivs"]) == ("10001", "0" * 16, "1")
    assert "insignia-worker" in worker.run("cat", "/proc/1/cmdline").stdout, "the service is process 1"
    assert worker.run("touch", "/opt/insignia-worker/x").returncode != 0
    assert worker.run("touch", "/tmp/x").returncode == 0
    changed = worker.must("diff", worker.name).splitlines()
    assert not [line for line in changed if "insignia-worker/lib" in line or line.startswith("D ")]


def test_health_check_is_good_then_bad_then_good(worker: Container) -> None:
    assert worker.podman("healthcheck", "run", worker.name).returncode == 0
    worker.enqueue("blocks")
    until_begun(worker)

    assert worker.podman("healthcheck", "run", worker.name).returncode != 0, "the event loop is blocked"

    touch(worker, "go")
    worker.until(lambda: worker.podman("healthcheck", "run", worker.name).returncode == 0, "it is healthy again")


def test_stop_lets_a_running_job_finish(worker: Container) -> None:
    job = worker.enqueue("waits")
    until_begun(worker)
    worker.must("kill", "--signal", "TERM", worker.name)
    worker.until(lambda: "🛑" in worker.log, "the service stops")

    touch(worker, "go")

    worker.until(lambda: worker.exit_code is not None, "the container has ended")
    assert worker.exit_code == 0
    worker.start()
    assert worker.until_job(job, "succeeded")["result"] == 1, "done in its first attempt"


def test_signal_right_after_the_start_ends_process_1() -> None:
    """A process 1 without a handler ignores SIGTERM, and the container would be killed after its time."""
    with container(*HARDENED) as made:
        made.must("start", made.name)
        made.must("kill", "--signal", "TERM", made.name)

        made.until(lambda: made.exit_code is not None, "the container has ended")
        assert made.exit_code in (0, 143), "143: before Python had started"


def test_job_that_takes_all_memory_fails_alone(site: Path) -> None:
    with container(*HARDENED, *with_handlers(site), "--memory", "300m", "--memory-swap", "300m") as made:
        made.start()
        made.until_job(made.enqueue("eats"), "failed")

        touch(made, "go")
        made.until_job(made.enqueue("waits"), "succeeded")
        assert made.starts == 1, "the service itself was not killed"


def test_state_outlives_the_container(site: Path) -> None:
    volume = f"insignia-test-{os.getpid()}"
    options = (*HARDENED, *with_handlers(site), "-v", f"{volume}:{STATE}")
    try:
        with container(*options) as first:
            first.start()
            touch(first, "go")
            job = first.enqueue("waits")
            first.until_job(job, "succeeded")
            first.must("stop", "--time", "45", first.name)
        with container(*options) as second:
            second.start()
            assert second.command("jobs", "show", job)["status"] == "succeeded"
    finally:
        Container().podman("volume", "rm", "--force", volume)


def test_replaced_config_map_is_read_without_a_signal(site: Path, tmp_path: Path) -> None:
    settings = ConfigMap(tmp_path / "settings")
    settings.replace({"Worker": {"Concurrency": 5}})
    with container(*HARDENED, *with_handlers(site), "-v", f"{settings.folder}:/etc/insignia-worker:ro") as made:
        made.start()
        assert concurrency(made) == 5

        settings.replace({"Worker": {"Concurrency": 6}})
        made.until(lambda: concurrency(made) == 6, "the new settings apply")
        settings.replace({"Worker": {"Concurency": 7}})
        made.until(
            lambda: made.command("health", "--timeout", "60")["entries"]["settings"]["status"] == "Degraded",
            "they are refused",
        )

        assert concurrency(made) == 6
        made.until(lambda: "settings not reloaded" in made.log, "the log says so")
        assert made.log.count("settings not reloaded") == 1


def concurrency(made: Container) -> int:
    return int(made.command("health", "--timeout", "60")["entries"]["queue"]["data"]["concurrency"])


class ConfigMap:
    """A folder as the kubelet mounts it: files are links through `..data`, which is replaced as a whole."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._version = 0
        folder.mkdir()
        (folder / "appsettings.json").symlink_to("..data/appsettings.json")

    def replace(self, sections: object) -> None:
        self._version += 1
        version = self.folder / f"..{self._version}"
        version.mkdir()
        (version / "appsettings.json").write_bytes(orjson.dumps(sections))
        (self.folder / "..new").symlink_to(version.name)
        (self.folder / "..new").replace(self.folder / "..data")
        shutil.rmtree(self.folder / f"..{self._version - 1}", ignore_errors=True)
