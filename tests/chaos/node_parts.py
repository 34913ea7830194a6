"""The JavaScript server and the JavaScript clients of a run."""

import asyncio
import contextlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support.history.events import Event, NotificationAtEnd, Received
from tests.support.history.recorder import Recorder
from tests.support.js import INTEROP, node_or_skip
from tests.support.ports import free_port

_LINE_BYTES = 16 * 1024 * 1024


async def _start_node(script: str, *arguments: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        node_or_skip(),
        str(INTEROP / script),
        *arguments,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=_LINE_BYTES,
    )


async def _end_node(process: asyncio.subprocess.Process) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.kill()
    await process.wait()
    # Closing the pipes is left to the loop otherwise, and it says so as a warning later.
    process._transport.close()  # type: ignore[attr-defined]  # asyncio has no public way


@dataclass(slots=True)
class ScriptedServer:
    """server.js, which writes what it receives to the history by itself, before it acknowledges it."""

    record: Path
    port: int = field(default_factory=free_port)
    process: asyncio.subprocess.Process | None = None
    _reading: "asyncio.Task[None] | None" = None

    async def start(self) -> None:
        levers = {"port": self.port, "record": str(self.record), "pingInterval": 2000, "pingTimeout": 2000}
        self.process = await _start_node("server.js", json.dumps(levers))
        assert self.process.stdout is not None
        async with asyncio.timeout(120):
            while line := await self.process.stdout.readline():
                if json.loads(line)["at"] == "listening":
                    break
        self._reading = asyncio.create_task(self._drain(self.process.stdout))

    async def _drain(self, output: asyncio.StreamReader) -> None:
        while await output.readline():
            pass

    def send(self, **command: Any) -> None:
        if self.process is not None and self.process.stdin is not None:
            self.process.stdin.write(json.dumps(command).encode() + b"\n")

    async def kill(self) -> int:
        """kill -9; returns the process."""
        assert self.process is not None
        assert self._reading is not None
        await _end_node(self.process)
        await self._reading
        return self.process.pid


@dataclass(slots=True)
class ResumingClient:
    """hub_client.js as one user, who continues where the last connection ended."""

    url: str
    user: str
    token: str
    history: Recorder
    highest: int = 0
    """The last number of the user that arrived."""
    connections: int = 0
    arrived: asyncio.Event = field(default_factory=asyncio.Event)
    process: asyncio.subprocess.Process | None = None
    _reading: "asyncio.Task[None] | None" = None

    async def start(self) -> None:
        options = {"token": self.token, "resume": True}
        self.process = await _start_node("hub_client.js", self.url, json.dumps(options))
        assert self.process.stdout is not None
        self._reading = asyncio.create_task(self._read(self.process.stdout))

    def cut(self) -> None:
        """End the connection as a network would."""
        if self.process is not None and self.process.stdin is not None:
            self.process.stdin.write(b'{"kick": true}\n')

    async def until(self, number: int, seconds: float) -> None:
        async with asyncio.timeout(seconds):
            while self.highest < number:
                self.arrived.clear()
                await self.arrived.wait()

    async def stop(self) -> None:
        if self.process is not None and self._reading is not None:
            await _end_node(self.process)
            await self._reading

    async def _read(self, output: asyncio.StreamReader) -> None:
        while line := await output.readline():
            said = json.loads(line)
            if said[0] == "connect":
                self.connections += 1
            elif said[:2] == ["event", "socket-notification"]:
                self.history.add(
                    Received(
                        f"client-{self.user}",
                        json.dumps(said[1:]),
                        self.user,
                        connection=str(self.connections),
                        drops_repeats=True,
                    )
                )
                self.highest = max(self.highest, said[2]["payload"].get("sequence", 0))
                self.arrived.set()


async def until_clients_have_all(clients: Sequence[ResumingClient], events: Sequence[Event]) -> None:
    """Wait until each client has its user's last notification; one that stays behind is named, and then judged."""
    for client in clients:
        mine = [one.sequence for one in events if isinstance(one, NotificationAtEnd) and one.user == client.user]
        try:
            await client.until(max(mine, default=0), 120.0)
        except TimeoutError:
            print(f"client {client.user} has {client.highest} of {max(mine)} notifications", flush=True)
