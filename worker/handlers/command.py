"""The kind `command`: run a program that the settings name. Off until Handlers:Command:Programs has one.

No shell, no search path, nothing inherited but what is listed. The program runs under a warden of its own
(worker/warden.py), which reads its outputs and ends it with everything it has started.
"""

import asyncio
import contextlib
import errno
import os
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import orjson
import regex
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from config.settings import CommandHandlerSettings, HandlersSettings, ProgramSettings
from worker import warden
from worker.errors import Crashed, Discard, InvalidPayload, TimedOut, Unavailable, WorkerError
from worker.handler import Context, handler

_HEADER = struct.Struct("!I")
_MATCH_SECONDS = 0.2
"""For all arguments of a payload: what takes longer is a trap for intake, not a check."""
_PATIENCE = 3.0
"""Seconds the warden may take beyond the program's grace."""
_LAST_LINES, _LAST_CHARS = 10, 1000
"""What is told of an output when the program failed."""


def _no_nul(text: str) -> str:
    if "\0" in text:
        raise ValueError("must not contain NUL")
    return text


Text = Annotated[str, Field(max_length=100_000), AfterValidator(_no_nul)]


class CommandPayload(BaseModel):
    """A run of a program."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    command: str = Field(min_length=1, max_length=100)
    """Its name in Handlers:Command:Programs."""
    args: list[Annotated[int, Field(strict=True)] | Text] = Field(default_factory=list, max_length=1000)
    stdin: str | None = None
    env: dict[str, Text] = Field(default_factory=dict, max_length=100)

    @property
    def arguments(self) -> list[str]:
        return [str(one) for one in self.args]


def check(payload: CommandPayload, settings: HandlersSettings | None) -> None:
    """InvalidPayload: the kind is off, or the program must not be run like this."""
    program = _program(payload, (settings or HandlersSettings()).command)
    _check_arguments(payload.arguments, program)
    for name in payload.env:
        if name not in program.variables:
            raise InvalidPayload(f"env.{name[:100]}: {program.name} takes no such variable from a payload")
    if payload.stdin is not None:
        _check_input(payload.stdin, program)


def _program(payload: CommandPayload, settings: CommandHandlerSettings) -> ProgramSettings:
    if not settings.programs:
        raise InvalidPayload("jobs of kind command are off: name what they may run in Handlers:Command:Programs")
    for program in settings.programs:
        if program.name == payload.command:
            return program
    known = ", ".join(program.name for program in settings.programs)
    raise InvalidPayload(f"command: {payload.command!r} is not in Handlers:Command:Programs; there are: {known}")


def _check_arguments(arguments: list[str], program: ProgramSettings) -> None:
    patterns = program.patterns
    most = len(patterns) if program.max_arguments is None else program.max_arguments
    if len(arguments) > most or (arguments and not patterns):
        raise InvalidPayload(f"args: {program.name} takes {min(most, most * len(patterns))} at most")
    deadline = time.monotonic() + _MATCH_SECONDS
    for place, argument in enumerate(arguments):
        pattern = patterns[min(place, len(patterns) - 1)]
        left = max(0.001, deadline - time.monotonic())
        try:
            fits = regex.fullmatch(pattern, argument, timeout=left) is not None
        except TimeoutError:
            fits = False
        if not fits:
            raise InvalidPayload(f"args.{place}: does not fit the pattern that {program.name} has for it: {pattern}")


def _check_input(text: str, program: ProgramSettings) -> None:
    if not program.stdin:
        raise InvalidPayload(f"stdin: {program.name} takes no standard input from a payload")
    try:
        text.encode(program.encoding)
    except UnicodeEncodeError:
        raise InvalidPayload(
            f"stdin: holds signs that {program.encoding}, which {program.name} reads, has not"
        ) from None


@handler("command", section="Handlers", check=check, grace=14.0)
async def run_program(payload: CommandPayload, context: Context) -> dict[str, Any]:
    """Run the program. Its exit code is the outcome: success, another attempt, or failed for good."""
    settings = context.settings or HandlersSettings()
    check(payload, settings)
    program = _program(payload, settings.command)
    context.progress(0, f"running {program.name}")
    started = time.monotonic()
    end = await _run(_order(payload, program, settings.command, context), program, settings.command, context)
    result = {
        "exitCode": end["code"],
        "stdout": _hidden(end["stdout"], program),
        "stderr": _hidden(end["stderr"], program),
        "durationMs": round((time.monotonic() - started) * 1000, 2),
        "cpuMs": round(end["cpu"] * 1000, 2),
    }
    return _judged(result | ({"truncated": True} if end["truncated"] else {}), program)


def _order(
    payload: CommandPayload, program: ProgramSettings, settings: CommandHandlerSettings, context: Context
) -> dict[str, Any]:
    inherited = {name: os.environ[name] for name in program.inherit if name in os.environ}
    secrets = {name: value.get_secret_value() for name, value in program.secrets.items()}
    about = {
        "INSIGNIA_JOB_ID": context.job_id,
        "INSIGNIA_USER_ID": context.user_id,
        "INSIGNIA_ATTEMPT": str(context.attempt),
    }
    return {
        "argv": [program.path, *program.arguments, *payload.arguments],
        "env": {**inherited, **payload.env, **program.environment, **secrets, **about},
        "folder": program.folder,
        "stdin": payload.stdin,
        "encoding": program.encoding,
        "keep": settings.max_output,
    }


# -- under its warden ----------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Line:
    """To the warden: the order out, progress and the end back."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    def send(self, frame: object) -> None:
        data = orjson.dumps(frame)
        self.writer.write(_HEADER.pack(len(data)) + data)

    async def end(self, context: Context) -> dict[str, Any]:
        """The last frame. Crashed: the warden has gone without one."""
        while True:
            try:
                (size,) = _HEADER.unpack(await self.reader.readexactly(_HEADER.size))
                frame: dict[str, Any] = orjson.loads(await self.reader.readexactly(size))
            except (asyncio.IncompleteReadError, ConnectionError):
                raise Crashed("The process that watched the program died, and the program with it") from None
            if "percent" not in frame:
                return frame
            context.progress(frame["percent"], frame["note"])


async def _run(
    order: dict[str, Any], program: ProgramSettings, settings: CommandHandlerSettings, context: Context
) -> dict[str, Any]:
    async with _warden() as line:
        line.send(order)
        try:
            async with asyncio.timeout(program.timeout / 1000):
                end = await line.end(context)
        except TimeoutError:
            await _stop(line, settings, context)
            raise TimedOut(f"{program.name} took longer than {program.timeout / 1000:g} s") from None
        except asyncio.CancelledError:
            await _stop(line, settings, context)
            raise
    if "refused" in end:
        raise _refusal(end, program)
    return end


async def _stop(line: _Line, settings: CommandHandlerSettings, context: Context) -> None:
    """SIGTERM, and SIGKILL after the grace. Whatever goes wrong here: closing the line kills at once."""
    grace = settings.grace / 1000
    with contextlib.suppress(TimeoutError, Crashed):
        line.send({"stop": grace})
        async with asyncio.timeout(grace + _PATIENCE):
            await line.end(context)


@contextlib.asynccontextmanager
async def _warden() -> AsyncIterator[_Line]:
    """A warden for one program; when the line closes, nothing of that program is left."""
    ours, theirs = socket.socketpair()
    with theirs:
        try:
            reader, writer = await asyncio.open_unix_connection(sock=ours)
        except BaseException:
            ours.close()
            raise
        process = _spawn(theirs.fileno(), writer)
    # Nothing was awaited since the start: a cancellation could not leave a process that nobody reaps.
    try:
        yield _Line(reader, writer)
    finally:
        writer.transport.abort()
        await asyncio.shield(asyncio.to_thread(process.wait))


def _spawn(descriptor: int, writer: asyncio.StreamWriter) -> "subprocess.Popen[bytes]":
    script = str(Path(warden.__file__).resolve())
    kept = {name: os.environ[name] for name in ("LD_LIBRARY_PATH",) if name in os.environ}  # Python itself may need it
    try:
        return subprocess.Popen(  # noqa: S603 -- our own script
            # Isolated, without site: only what the script itself imports, and started in milliseconds.
            [sys.executable, "-I", "-S", script, str(descriptor)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            pass_fds=[descriptor],
            start_new_session=True,
            env=kept,
            cwd="/",
        )
    except OSError as exc:
        writer.close()
        raise Unavailable(f"no process can be started: {exc.strerror}") from exc


# -- its end -------------------------------------------------------------------------------------------------------


def _refusal(end: dict[str, Any], program: ProgramSettings) -> WorkerError:
    """E2BIG is the payload's fault; anything else is for whoever runs the machine."""
    number: int = end["errno"]
    if number == errno.E2BIG:
        return Discard(f"{program.name}: the arguments are longer than the system takes; use stdin or a file")
    return Unavailable(
        f"{program.name} cannot be started: {os.strerror(number)} (its {end['refused']} in Handlers:Command:Programs)"
    )


def _judged(result: dict[str, Any], program: ProgramSettings) -> dict[str, Any]:
    code: int = result["exitCode"]
    if code in program.success_codes:
        return result
    last = _last_lines(result["stderr"]) or _last_lines(result["stdout"])
    told = f": {last}" if last else ""
    if code < 0:
        raise Crashed(f"{program.name} was killed by {_signal_name(-code)}{told}")
    if code in program.retry_codes:
        raise WorkerError(f"{program.name} ended with exit code {code}, which means: try again{told}")
    raise Discard(f"{program.name} ended with exit code {code}{told}")


def _last_lines(text: str) -> str:
    lines = "\n".join(text.strip().splitlines()[-_LAST_LINES:])
    return lines if len(lines) <= _LAST_CHARS else "…" + warden.without_broken_start(lines[-_LAST_CHARS:])


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _hidden(text: str, program: ProgramSettings) -> str:
    """A program that shows its environment shows our secrets as well."""
    for value in program.secrets.values():
        if len(secret := value.get_secret_value()) >= 4:
            text = text.replace(secret, "***")
    return text
