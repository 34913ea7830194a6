"""A command's way to the store: over the service's UNIX socket, or by being the service for a moment.

One process writes the store. Where a service runs, commands ask it; where none does, the command takes the
lock, opens the same socket with the same routes, asks itself, and lets go. One path to test.
"""

import asyncio
import contextlib
import http.client
import secrets
import socket
import threading
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from worker.door.app import SOCKET_NAME, socket_address
from worker.errors import Discard, KeyConflict, NotFound, StoreError, StoreFull, StoreLocked, Unavailable, WorkerError

_TIMEOUT = 90.0
"""Seconds for one answer; longer than the longest `?wait=`."""
_PIECE = 1 << 18
"""Bytes of a file that are sent at once."""
_PATIENCE = 5.0
"""Seconds to wait for a service that holds the lock but does not answer yet: it is starting or stopping."""


class Refused(WorkerError):
    """The service said no; the text is its own."""

    exit_code = 65


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=_TIMEOUT)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        with socket_address(self._path) as address:
            self.sock.connect(address)


@dataclass(slots=True)
class Client:
    """Speaks the HTTP API; each call is one request."""

    path: Path

    def ask(self, method: str, target: str, body: Any = None, headers: dict[str, str] | None = None) -> Any:
        """The answer's JSON. Unavailable: no service listens. Refused and its kin: the service's own words."""
        data = None if body is None else body if isinstance(body, bytes) else orjson.dumps(body)
        return self._exchange(method, target, data, headers or {})

    def upload(self, job: dict[str, Any], files: Mapping[str, Path]) -> Any:
        """Submit a job with its files, by field of the payload. Discard: one of them cannot be read."""
        boundary = secrets.token_hex(16)
        head = {"Content-Type": f"multipart/form-data; boundary={boundary}", "Transfer-Encoding": "chunked"}
        return self._exchange("POST", "/api/v1/jobs/upload", _form(boundary, job, files), head)

    def _exchange(self, method: str, target: str, data: "bytes | Iterator[bytes] | None", headers: Any) -> Any:
        connection = _UnixConnection(self.path)
        try:
            # A refusal may come before everything was sent; then the answer is there all the same.
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                connection.request(method, target, data, headers, encode_chunked=True)
            response = connection.getresponse()
            content = response.read()
        except (OSError, http.client.HTTPException) as exc:
            raise Unavailable(f"no service answers at {self.path}: {exc}") from None
        finally:
            connection.close()
        if response.status >= 400:
            raise _error(response.status, content)
        return orjson.loads(content) if content else None

    def answers(self) -> bool:
        """Whether a service listens."""
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe, socket_address(self.path) as address:
                probe.connect(address)
        except OSError:
            return False
        return True


def _form(boundary: str, job: dict[str, Any], files: Mapping[str, Path]) -> Iterator[bytes]:
    """The body as a browser's form would send it, the job first; files are read as they are sent."""
    yield _part(boundary, 'name="job"', b"application/json") + orjson.dumps(job) + b"\r\n"
    for field, path in files.items():
        name = path.name.replace("\\", "_").replace('"', "_")
        try:
            with path.open("rb") as file:
                yield _part(boundary, f'name="{field}"; filename="{name}"', b"application/octet-stream")
                while piece := file.read(_PIECE):
                    yield piece
        except OSError as exc:
            raise Discard(f"cannot read {path}: {exc.strerror}") from None
        yield b"\r\n"
    yield f"--{boundary}--\r\n".encode()


def _part(boundary: str, name: str, kind: bytes) -> bytes:
    head = f"--{boundary}\r\nContent-Disposition: form-data; {name}\r\nContent-Type: "
    return head.encode("utf-8", "surrogateescape") + kind + b"\r\n\r\n"


def _error(status: int, content: bytes) -> WorkerError:
    try:
        detail = orjson.loads(content).get("detail") or orjson.loads(content).get("title")
    except (orjson.JSONDecodeError, AttributeError):
        detail = content.decode(errors="replace")[:200]
    kinds: dict[int, type[WorkerError]] = {404: NotFound, 409: KeyConflict, 507: StoreFull, 503: Unavailable}
    if status >= 500 and status not in kinds:
        return WorkerError(f"the service failed: {detail}")
    return kinds.get(status, Refused)(str(detail))


OpenDoor = Callable[[asyncio.Event, Callable[[], None]], Awaitable[None]]
"""Be the service: take the lock, listen on the socket, call back when ready, return when the event is set."""


@contextlib.contextmanager
def connected(state_dir: Path, be_the_service: OpenDoor) -> Iterator[Client]:
    """A client with somebody at the other end. StoreLocked: the lock is held, but nobody answers."""
    client = Client(state_dir / SOCKET_NAME)
    deadline = time.monotonic() + _PATIENCE
    while not client.answers():
        try:
            with _in_thread(be_the_service):
                yield client
                return
        except StoreLocked:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
    yield client


@contextlib.contextmanager
def _in_thread(be_the_service: OpenDoor) -> Iterator[None]:
    """The loop in a thread of its own, so that the command may block on its socket."""
    ready, failure = threading.Event(), []
    handle: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []

    async def body() -> None:
        stop = asyncio.Event()
        handle.append((asyncio.get_running_loop(), stop))
        await be_the_service(stop, ready.set)

    def run() -> None:
        try:
            asyncio.run(body())
        except BaseException as exc:  # noqa: BLE001 -- handed to the command's thread, which raises it
            failure.append(exc)
        finally:
            ready.set()

    thread = threading.Thread(target=run, name="store", daemon=True)
    thread.start()
    ready.wait()
    if failure:
        thread.join()
        raise failure[0]
    try:
        yield
    finally:
        loop, stop = handle[0]
        loop.call_soon_threadsafe(stop.set)
        thread.join()
        if failure and isinstance(failure[0], StoreError):
            raise failure[0]
