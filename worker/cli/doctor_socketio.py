"""What `doctor ws` asks on one Socket.IO connection: namespaces, test notifications, and the commands of the hub."""

import contextlib
import secrets
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final

import aiohttp
import orjson

from worker.cli.doctor_connection import CheckResult, DoctorConnection
from worker.core.notification import TASK_FINISH
from worker.notifiers.socketio.acknowledgement import rejection
from worker.notifiers.socketio.protocol import LONGEST_REASON
from worker.notifiers.socketio.quote import Quote

_PROBES: Final = 8
"""Copies of the test notification."""
_USUAL_NAMESPACES: Final = ("/", "/org", "/org-socket", "/notifications", "/notify", "/socket", "/api", "/ws")
"""Tried when no other name is known."""
_TRIES: Final = 3
"""Namespaces that one connection tries."""
_NAMESPACE_SECONDS: Final = 3.0
_COMMAND_SECONDS: Final = 2.0
_NO_ACK: Final = (
    "check WebSocket:Event and WebSocket:Namespace against the server's handler, and call its acknowledgement there; "
    "without one the link confirms receipt by pings, which do not show that a notification was handled"
)


Dial = Callable[[], Awaitable[DoctorConnection]]
"""Opens another WebSocket to the same server."""


def namespace_of(packet: str) -> str:
    """Return the namespace that a packet of Socket.IO names."""
    return packet[2:].partition(",")[0] if packet.startswith("/", 2) else "/"


def body_of(packet: str) -> str:
    """Return what follows the type and the namespace."""
    return packet[2:].partition(",")[2] if packet.startswith("/", 2) else packet[2:]


async def join(
    connection: DoctorConnection, version: int, namespace: str, token: str | None, seconds: float | None = None
) -> str:
    """Ask for a namespace; return the packet that answers. Raises TimeoutError."""
    auth = orjson.dumps({"token": token}).decode() if version == 4 and token is not None else ""
    if version == 4 or namespace != "/":  # servers of Engine.IO 3 let everyone into the main one
        comma = "," if version == 4 else ""
        await connection.ws.send_str("40" + (f"{namespace}{comma}" if namespace != "/" else "") + auth)
    return await connection.until(
        lambda text: text.startswith(("40", "44")) and namespace_of(text) == namespace,
        *(() if seconds is None else (seconds,)),
    )


async def other_namespaces(dial: Dial, version: int, token: str | None, tried: str) -> list[str]:
    """Return the usual namespaces, other than the one tried, that let us in.

    Each connection tries a few: servers close those that are rejected too often.
    """
    names = [name for name in _USUAL_NAMESPACES if name != tried and not (name == "/" and version == 3)]
    found: list[str] = []
    with contextlib.suppress(TimeoutError, CheckResult, OSError, aiohttp.ClientError):
        for at in range(0, len(names), _TRIES):
            connection = await dial()
            try:
                await connection.until(lambda text: text.startswith("0{"))
                for name in names[at : at + _TRIES]:
                    if (await join(connection, version, name, token, _NAMESPACE_SECONDS)).startswith("40"):
                        found.append(name)  # noqa: PERF401 -- those before an error count
            finally:
                await connection.ws.close()
    return found


async def examine_namespaces(
    connection: DoctorConnection, dial: Dial, version: int, token: str | None, own: str
) -> str:
    """Return what happens to an unknown namespace, and which others exist. Raises CheckResult."""
    name = f"/doctor-{secrets.token_hex(4)}"
    try:
        answer = await join(connection, version, name, token, _NAMESPACE_SECONDS)
    except TimeoutError:
        remedy = "nothing to do if notifications are acknowledged; otherwise check WebSocket:Namespace"
        raise CheckResult("warning", "an unknown namespace gets no answer", remedy) from None
    if answer.startswith("40"):
        raise CheckResult("warning", "any namespace is accepted", "check WebSocket:Namespace: a typo goes unnoticed")
    others = await other_namespaces(dial, version, token, own)
    there = f"; there are others too: {', '.join(others)}" if others else ""
    return f"an unknown one is rejected: {connection.reason_of(body_of(answer))}{there}"


async def send_notifications(
    connection: DoctorConnection, event: str, namespace: str, notification: str, user: str, seconds: float
) -> str:
    """Send the test notification several times; return how it was acknowledged. Raises CheckResult.

    Receivers show it once, and the order of the answers shows whether the server handles events one after the other.
    """
    payload = {
        "taskType": "doctor",
        "jobId": notification,
        "notificationId": notification,
        "status": "success",
        "sequence": 1,
    }
    message = {"success": True, "message": TASK_FINISH, "payload": payload}
    began = time.monotonic()
    for number in range(_PROBES):
        await _emit(connection, namespace, number, event, message, {"userId": user})
    answers: list[str] = []
    try:
        while len(answers) < _PROBES:
            answers.append(body_of(await _acknowledgement(connection, namespace, seconds)))
    except TimeoutError:
        if not answers:
            text = f'no acknowledgement of event "{event}" in namespace "{namespace}"'
            raise CheckResult("warning", text, _NO_ACK) from None
        text = f"{len(answers)} of {_PROBES} notifications were acknowledged"
        raise CheckResult("warning", text, "the server's handler fails now and then: see its log") from None
    return _judged(answers, user, (time.monotonic() - began) * 1000, connection.quote)


def _judged(answers: list[str], user: str, milliseconds: float, quote: Quote) -> str:
    arguments = orjson.loads(answers[0][answers[0].index("[") :])
    if (reason := rejection(arguments)) is not None:
        remedy = "give the token the right to publish, or see the server's log for why its handler refuses"
        raise CheckResult("failed", f"rejected: {quote(reason, LONGEST_REASON)}", remedy)
    numbers = [int(text[: text.index("[")]) for text in answers]
    if numbers != sorted(numbers):
        text = f"acknowledged to {user}, but not in order: the server handles events at the same time"
        raise CheckResult("warning", text, "set WebSocket:Window to 1, or make the server handle them in order")
    return f"acknowledged in order, to {user} ({_PROBES} in {milliseconds:.0f} ms)"


async def examine_commands(connection: DoctorConnection, namespace: str) -> str:
    """Go through the hub's commands for clients; return those that were answered as they should be.

    Other servers get `echo` alone: what they would do with the rest is not known. Raises CheckResult.
    """
    room = f"doctor-{secrets.token_hex(4)}"
    number = 100

    async def call(name: str, data: Any) -> dict[str, Any]:
        nonlocal number
        number += 1
        await _emit(connection, namespace, number, name, data)
        answer = body_of(await _acknowledgement(connection, namespace, _COMMAND_SECONDS, number))
        arguments = orjson.loads(answer[answer.index("[") :])
        return arguments[0] if arguments and isinstance(arguments[0], dict) else {}

    try:
        is_hub = (await call("echo", room)).get("type") == "echo"
    except TimeoutError:
        is_hub = False
    if not is_hub:
        return "none (ping, echo, rooms, broadcast); only the built-in hub has them, and notifications do not need them"
    passed = ["echo"]
    for name, data, expected in (
        ("ping", "doctor", "pong"),
        ("join-room", {"room": room}, "room-joined"),
        ("broadcast", {"room": room}, "broadcast-sent"),
        ("leave-room", {"room": room}, "room-left"),
    ):
        try:
            answer = await call(name, data)
        except TimeoutError:
            answer = {}
        if answer.get("type") == expected:
            passed.append(expected)
        elif str(answer.get("error", "")).startswith("forbidden"):
            passed.append(f"{name} forbidden to this token")
        else:
            raise CheckResult("failed", f"{name} is not answered by {expected}", "update the hub: see its CHANGELOG")
    return ", ".join(passed)


async def _emit(connection: DoctorConnection, namespace: str, number: int, *arguments: Any) -> None:
    prefix = "" if namespace == "/" else f"{namespace},"
    await connection.ws.send_str(f"42{prefix}{number}{orjson.dumps(arguments).decode()}")


async def _acknowledgement(
    connection: DoctorConnection, namespace: str, seconds: float, number: int | None = None
) -> str:
    begin = "" if number is None else f"{number}["
    return await connection.until(
        lambda text: text.startswith("43") and namespace_of(text) == namespace and body_of(text).startswith(begin),
        seconds,
    )
