"""The kind `command`: runs a program that the settings name. Off until Handlers:Command:Programs names one.

There is no shell and no search path, and only listed variables are inherited. Each program runs under a supervisor
process (supervisor.py), which reads its output and ends it together with all its descendants.
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

from config.handler_settings import CommandHandlerSettings, HandlersSettings, ProgramSettings
from worker.core.process_tag import end_tagged, next_tag
from worker.errors import Crashed, Discard, InvalidPayload, TimedOut, Unavailable, WorkerError
from worker.handler import Context, handler
from worker.handlers.command import supervisor
from worker.handlers.command.output import drop_orphaned_marks

_HEADER = struct.Struct("!I")
_START_SUPERVISOR = (
    "import sys; sys.path.append(sys.argv.pop()); from worker.handlers.command.supervisor import main; main()"
)
_MATCH_SECONDS = 0.2
"""Limit for matching all arguments of a payload, so that a slow pattern cannot delay intake."""
_EXTRA_GRACE = 3.0
"""Seconds that the supervisor may take beyond the program's grace period."""
_QUOTED_LINES, _QUOTED_CHARS = 10, 1000
"""How much of the output an error message quotes."""


def _no_nul(text: str) -> str:
    if "\0" in text:
        raise ValueError("must not contain NUL")
    return text


Text = Annotated[str, Field(max_length=100_000), AfterValidator(_no_nul)]


class CommandPayload(BaseModel):
    """The payload: a program and its arguments."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    command: str = Field(min_length=1, max_length=100)
    """Its name in Handlers:Command:Programs."""
    args: list[Annotated[int, Field(strict=True)] | Text] = Field(default_factory=list, max_length=1000)
    stdin: str | None = None
    env: dict[str, Text] = Field(default_factory=dict, max_length=100)

    @property
    def arguments(self) -> list[str]:
        """The arguments as text."""
        return [str(one) for one in self.args]


def check(payload: CommandPayload, settings: HandlersSettings | None) -> None:
    """Raise InvalidPayload if the kind is off or the settings do not allow this run of the program."""
    program = _program(payload, (settings or HandlersSettings()).command)
    _check_arguments(payload.arguments, program)
    for name in payload.env:
        if name not in program.variables:
            raise InvalidPayload(f"env.{name[:100]}: {program.name} does not accept this variable from a payload")
    if payload.stdin is not None:
        _check_input(payload.stdin, program)


def _program(payload: CommandPayload, settings: CommandHandlerSettings) -> ProgramSettings:
    if not settings.programs:
        raise InvalidPayload("jobs of kind command are off: add the programs they may run to Handlers:Command:Programs")
    for program in settings.programs:
        if program.name == payload.command:
            return program
    known = ", ".join(program.name for program in settings.programs)
    raise InvalidPayload(f"command: {payload.command!r} is not in Handlers:Command:Programs; known programs: {known}")


def _check_arguments(arguments: list[str], program: ProgramSettings) -> None:
    patterns = program.patterns
    limit = len(patterns) if program.max_arguments is None else program.max_arguments
    limit = limit if patterns else 0
    if len(arguments) > limit:
        raise InvalidPayload(f"args: {program.name} accepts at most {limit}")
    deadline = time.monotonic() + _MATCH_SECONDS
    for index, argument in enumerate(arguments):
        pattern = patterns[min(index, len(patterns) - 1)]
        remaining = max(0.001, deadline - time.monotonic())
        try:
            fits = regex.fullmatch(pattern, argument, timeout=remaining) is not None
        except TimeoutError:
            fits = False
        if not fits:
            raise InvalidPayload(f"args.{index}: does not match the pattern of {program.name} for it: {pattern}")


def _check_input(text: str, program: ProgramSettings) -> None:
    if not program.stdin:
        raise InvalidPayload(f"stdin: {program.name} does not accept standard input from a payload")
    try:
        text.encode(program.encoding)
    except UnicodeEncodeError:
        raise InvalidPayload(
            f"stdin: contains characters that {program.encoding}, the encoding of {program.name}, does not have"
        ) from None


@handler("command", section="Handlers", check=check, grace=14.0)
async def run_program(payload: CommandPayload, context: Context) -> dict[str, Any]:
    """Run the program. Its exit code decides between success, another attempt and final failure."""
    settings = context.settings or HandlersSettings()
    check(payload, settings)
    program = _program(payload, settings.command)
    context.progress(0, f"running {program.name}")
    started = time.monotonic()
    tag = next_tag()
    request = _run_request(payload, program, settings.command, context, tag)
    end = await _run(request, program, settings.command, context, tag)
    result = {
        "exitCode": end["code"],
        "stdout": end["stdout"],
        "stderr": end["stderr"],
        "durationMs": round((time.monotonic() - started) * 1000, 2),
        "cpuMs": round(end["cpu"] * 1000, 2),
    }
    return _outcome(result | ({"truncated": True} if end["truncated"] else {}), program)


def _run_request(
    payload: CommandPayload, program: ProgramSettings, settings: CommandHandlerSettings, context: Context, tag: str
) -> dict[str, Any]:
    inherited = {name: os.environ[name] for name in program.inherit if name in os.environ}
    secrets = {name: value.get_secret_value() for name, value in program.secrets.items()}
    tag_name, _, tag_value = tag.partition("=")
    about_job = {
        tag_name: tag_value,
        "INSIGNIA_JOB_ID": context.job_id,
        "INSIGNIA_USER_ID": context.user_id,
        "INSIGNIA_ATTEMPT": str(context.attempt),
    }
    return {
        "argv": [program.path, *program.arguments, *payload.arguments],
        "env": {**inherited, **payload.env, **program.environment, **secrets, **about_job},
        "folder": program.folder,
        "stdin": payload.stdin,
        "encoding": program.encoding,
        "max_output": settings.max_output,
        # The supervisor masks them: it sees the output before it is cut.
        "secrets": list(secrets.values()),
    }


# -- under its supervisor ------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _SupervisorChannel:
    """Sends requests to the supervisor and receives progress and the result."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    def send(self, frame: object) -> None:
        """Queue a frame for sending."""
        data = orjson.dumps(frame)
        self.writer.write(_HEADER.pack(len(data)) + data)

    async def result(self, context: Context) -> dict[str, Any]:
        """Report progress and return the last frame. Raises Crashed if the supervisor dies without sending one."""
        while True:
            try:
                (size,) = _HEADER.unpack(await self.reader.readexactly(_HEADER.size))
                frame: dict[str, Any] = orjson.loads(await self.reader.readexactly(size))
            except (asyncio.IncompleteReadError, ConnectionError):
                raise Crashed("The supervisor of the program died, and the program with it") from None
            if "percent" not in frame:
                return frame
            context.progress(frame["percent"], frame["note"])


async def _run(
    request: dict[str, Any], program: ProgramSettings, settings: CommandHandlerSettings, context: Context, tag: str
) -> dict[str, Any]:
    async with _supervisor(tag) as channel:
        channel.send(request)
        try:
            async with asyncio.timeout(program.timeout / 1000):
                end = await channel.result(context)
        except TimeoutError:
            await _stop(channel, settings, context)
            raise TimedOut(f"{program.name} took longer than {program.timeout / 1000:g} s") from None
        except asyncio.CancelledError:
            await _stop(channel, settings, context)
            raise
    if "refused" in end:
        raise _not_started(end, program)
    return end


async def _stop(channel: _SupervisorChannel, settings: CommandHandlerSettings, context: Context) -> None:
    """Send SIGTERM, then SIGKILL after the grace period. If that fails, closing the channel kills at once."""
    grace = settings.grace / 1000
    with contextlib.suppress(TimeoutError, Crashed):
        channel.send({"stop": grace})
        async with asyncio.timeout(grace + _EXTRA_GRACE):
            await channel.result(context)


@contextlib.asynccontextmanager
async def _supervisor(tag: str) -> AsyncIterator[_SupervisorChannel]:
    """Start a supervisor for one program; closing the channel ends the program with all its processes.

    `tag` marks these processes: if the supervisor is killed, they are ended here.
    """
    ours, theirs = socket.socketpair()
    with theirs:
        try:
            reader, writer = await asyncio.open_unix_connection(sock=ours)
        except BaseException:
            ours.close()
            raise
        process = _spawn(theirs.fileno(), writer)
    # There is no await between start and try, so a cancellation cannot leave a process that is never reaped.
    try:
        yield _SupervisorChannel(reader, writer)
    finally:
        writer.transport.abort()
        await asyncio.shield(asyncio.to_thread(_wait, process, tag))


def _wait(process: "subprocess.Popen[bytes]", tag: str) -> None:
    if process.wait() != 0:
        end_tagged(tag)


def _spawn(descriptor: int, writer: asyncio.StreamWriter) -> "subprocess.Popen[bytes]":
    root = str(Path(supervisor.__file__).resolve().parents[3])
    kept = {name: os.environ[name] for name in ("LD_LIBRARY_PATH",) if name in os.environ}  # Python itself may need it
    try:
        return subprocess.Popen(  # noqa: S603 -- this package's own module
            # Isolated and without site-packages: it starts in milliseconds and imports only what it needs.
            [sys.executable, "-I", "-S", "-c", _START_SUPERVISOR, str(descriptor), root],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            pass_fds=[descriptor],
            start_new_session=True,
            env=kept,
            cwd="/",
        )
    except OSError as exc:
        writer.close()
        raise Unavailable(f"the supervisor process cannot be started: {exc.strerror}") from exc


# -- the outcome ---------------------------------------------------------------------------------------------------


def _not_started(end: dict[str, Any], program: ProgramSettings) -> WorkerError:
    """Return the error for a program that did not start: E2BIG is the payload's fault, all others the operator's."""
    number: int = end["errno"]
    if number == errno.E2BIG:
        return Discard(f"{program.name}: the arguments are longer than the system allows; use stdin or a file")
    return Unavailable(
        f"{program.name} cannot be started: {os.strerror(number)} (its {end['refused']} in Handlers:Command:Programs)"
    )


def _outcome(result: dict[str, Any], program: ProgramSettings) -> dict[str, Any]:
    code: int = result["exitCode"]
    if code in program.success_codes:
        return result
    last = _last_lines(result["stderr"]) or _last_lines(result["stdout"])
    quoted = f": {last}" if last else ""
    if code < 0:
        raise Crashed(f"{program.name} was killed by {_signal_name(-code)}{quoted}")
    if code in program.retry_codes:
        raise WorkerError(f"{program.name} ended with exit code {code}, which means try again{quoted}")
    raise Discard(f"{program.name} ended with exit code {code}{quoted}")


def _last_lines(text: str) -> str:
    lines = "\n".join(text.strip().splitlines()[-_QUOTED_LINES:])
    return lines if len(lines) <= _QUOTED_CHARS else "…" + drop_orphaned_marks(lines[-_QUOTED_CHARS:])


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
