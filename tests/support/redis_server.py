"""A Redis server for one test, on a free port with a folder of its own, which can be killed and restarted."""

import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

import redis

from tests.support.needs import needed_program
from tests.support.ports import free_port

SECRET = "only-for-this-test"


def redis_or_skip() -> str:
    """The path of the server program. Without it the test is skipped; in CI it fails."""
    return needed_program("redis-server")


@dataclass
class RedisServer:
    folder: Path
    durable: bool = True
    """Whether everything is written to disk before it is answered."""
    sync: str = "always"
    """appendfsync."""
    port: int = field(default_factory=free_port)
    process: "subprocess.Popen[bytes] | None" = None

    @property
    def url(self) -> str:
        return f"redis://:{SECRET}@127.0.0.1:{self.port}/3"

    def client(self) -> "redis.Redis":
        return redis.Redis.from_url(self.url, decode_responses=True, socket_timeout=60)

    def start(self) -> None:
        """Start it, and wait until it answers."""
        self.folder.mkdir(exist_ok=True)
        settings = {
            "port": str(self.port),
            "bind": "127.0.0.1",
            "dir": str(self.folder),
            "requirepass": SECRET,
            "save": "",
            "appendonly": "yes" if self.durable else "no",
            "appendfsync": self.sync,
        }
        command = [redis_or_skip()]
        for name, value in settings.items():
            command += [f"--{name}", value]
        with (self.folder / "redis.log").open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, cwd=self.folder)
        deadline = time.monotonic() + 120  # a guard against a hang
        with self.client() as client:
            while True:
                try:
                    client.ping()
                    return
                except (redis.exceptions.ConnectionError, redis.exceptions.TimeoutError):
                    assert self.process.poll() is None, (self.folder / "redis.log").read_text()
                    assert time.monotonic() < deadline, "Redis did not start"
                    time.sleep(0.02)

    def kill(self) -> None:
        """End it as kill -9 does."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None
