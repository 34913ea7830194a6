"""A client of the service's HTTP API over the UNIX socket in the state directory."""

import contextlib
import http.client
import secrets
import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from worker.errors import Discard, KeyConflict, NotFound, StoreFull, Unavailable, WorkerError
from worker.net.unix_socket import SOCKET_NAME, socket_address

_TIMEOUT_SECONDS = 90.0
"""For one response; longer than the longest `?wait=`."""
_CHUNK_BYTES = 1 << 18
"""How much of a file is sent at a time."""


class ApiRejected(WorkerError):
    """The service rejected the request; the text is the service's own."""

    exit_code = 65


class OutcomeUnknown(Unavailable):
    """The request was sent and not answered: it may have been carried out."""


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        with socket_address(self._path) as address:
            self.sock.connect(address)


@dataclass(slots=True)
class ApiClient:
    """Speaks the HTTP API on the socket at `path`; each call is one request on a connection of its own."""

    path: Path
    timeout: float = _TIMEOUT_SECONDS
    """For one response. Seconds."""

    @classmethod
    def in_folder(cls, state_dir: Path) -> "ApiClient":
        """Return a client of the service that has this state directory."""
        return cls(state_dir / SOCKET_NAME)

    def request(self, method: str, target: str, body: Any = None, headers: dict[str, str] | None = None) -> Any:
        """Send one request and return the response's JSON.

        Raises Unavailable when no service listens; OutcomeUnknown when a request other than GET was sent and not
        answered; ApiRejected, NotFound, KeyConflict or StoreFull with the service's
        own text when it answers with an error.
        """
        data = None if body is None else body if isinstance(body, bytes) else orjson.dumps(body)
        return self._exchange(method, target, data, headers or {})

    def upload(self, job: dict[str, Any], files: Mapping[str, Path]) -> Any:
        """Submit a job with its files, by field of the payload. Raises Discard when a file cannot be read."""
        boundary = secrets.token_hex(16)
        head = {"Content-Type": f"multipart/form-data; boundary={boundary}", "Transfer-Encoding": "chunked"}
        return self._exchange("POST", "/api/v1/jobs/upload", _form(boundary, job, files), head)

    def _exchange(self, method: str, target: str, data: "bytes | Iterator[bytes] | None", headers: Any) -> Any:
        connection = _UnixConnection(self.path, self.timeout)
        try:
            try:
                connection.connect()
            except OSError as exc:
                raise Unavailable(_why_unreachable(self.path, exc)) from None
            # The service may reject a request before it was sent completely; its response can be read all the same.
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                connection.request(method, target, data, headers, encode_chunked=True)
            response = connection.getresponse()
            content = response.read()
        except (OSError, http.client.HTTPException) as exc:
            raise _no_answer(self.path, method, exc) from None
        finally:
            connection.close()
        if response.status >= 400:
            raise _error(response.status, content)
        return orjson.loads(content) if content else None

    def answers(self) -> bool:
        """Return whether a service listens on the socket."""
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe, socket_address(self.path) as address:
                probe.connect(address)
        except OSError:
            return False
        return True


def _why_unreachable(path: Path, exc: OSError) -> str:
    """Return why no service listens on the socket, and what to do."""
    if isinstance(exc, PermissionError):
        return f"this user may not use {path}: run the command as root or as the service's user"
    start = "start it with `insignia-worker run` or `systemctl start insignia-worker`"
    if isinstance(exc, FileNotFoundError | ConnectionRefusedError):
        return f"no service runs with its state in {path.parent}: {start}, or name its folder with --contentRoot"
    return f"no service answers at {path} ({exc.strerror or exc}): {start}"


def _no_answer(path: Path, method: str, exc: Exception) -> Unavailable:
    """Return the error for a request that was sent, and whose outcome is unknown."""
    text = f"the service at {path} did not answer ({str(exc) or type(exc).__name__})"
    if method == "GET":
        return Unavailable(text)
    return OutcomeUnknown(f"{text}; it may have done what was asked, or may do it later: check before you repeat it")


def _form(boundary: str, job: dict[str, Any], files: Mapping[str, Path]) -> Iterator[bytes]:
    """Yield the body as a browser's form would send it, the job first; files are read while they are sent."""
    yield _part(boundary, 'name="job"', b"application/json") + orjson.dumps(job) + b"\r\n"
    for field, path in files.items():
        name = path.name.replace("\\", "_").replace('"', "_")
        try:
            with path.open("rb") as file:
                yield _part(boundary, f'name="{field}"; filename="{name}"', b"application/octet-stream")
                while chunk := file.read(_CHUNK_BYTES):
                    yield chunk
        except OSError as exc:
            raise Discard(f"cannot read {path}: {exc.strerror}") from None
        yield b"\r\n"
    yield f"--{boundary}--\r\n".encode()


def _part(boundary: str, name: str, kind: bytes) -> bytes:
    head = f"--{boundary}\r\nContent-Disposition: form-data; {name}\r\nContent-Type: "
    return head.encode("utf-8", "surrogateescape") + kind + b"\r\n\r\n"


def _error(status: int, content: bytes) -> WorkerError:
    """Return the error that stands for an HTTP status, with the text of the problem document."""
    try:
        detail = orjson.loads(content).get("detail") or orjson.loads(content).get("title")
    except (orjson.JSONDecodeError, AttributeError):
        detail = content.decode(errors="replace")[:200]
    kinds: dict[int, type[WorkerError]] = {404: NotFound, 409: KeyConflict, 507: StoreFull, 503: Unavailable}
    if status >= 500 and status not in kinds:
        return WorkerError(f"the service failed: {detail}")
    return kinds.get(status, ApiRejected)(str(detail))
