"""The kind `command` with real programs: what they receive, what is kept, and that no process is left."""

import asyncio
import os
import re
import signal
import sys
import time
from collections.abc import AsyncIterator, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import orjson
import pytest

from config.handler_settings import CommandHandlerSettings, HandlersSettings, ProgramSettings
from tests.support.attempts import Bench, a_bench, a_claimed_job, pids_in
from tests.support.contexts import StandIn
from tests.support.eventually import eventually
from tests.support.process import running_worker
from tests.support.processes import is_running
from tests.support.programs import allowing, script
from worker.cli.api_client import ApiRejected
from worker.core.failure import failure_of
from worker.core.redact import Redactor
from worker.errors import Crashed, Discard, InvalidPayload, TimedOut, Unavailable, WorkerError
from worker.handlers.command.handler import CommandPayload, check, run_program
from worker.runtime.guard import FORCED_STOP

FORKS_AND_IGNORES = """
    # Ignores SIGTERM, as do its child, and a grandchild in a session of its own.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    mark(sys.argv[1], "{} {} {}".format(os.getpid(), *descendants(sys.argv[1], apart=False)))
    time.sleep(600)
"""


async def run(settings: HandlersSettings, *args: str | int, context: StandIn | None = None, **payload: Any) -> Any:
    order = CommandPayload.model_validate({"command": "it", "args": list(args)} | payload)
    given = context or StandIn()
    given.settings = settings
    return await run_program.run(order, given)


def with_grace(path: str, milliseconds: int) -> HandlersSettings:
    """Return settings with a longer grace than the settings file may have."""
    settings = allowing(path)
    return settings.model_copy(update={"command": settings.command.model_copy(update={"grace": milliseconds})})


def dead(mark: Path) -> bool:
    return not any(is_running(pid) for pid in pids_in(mark))


# -- what it receives ----------------------------------------------------------------------------------------------


async def test_program_receives_arguments_as_a_list_and_its_output_is_the_result(tmp_path: Path) -> None:
    path = script(tmp_path, "print(sys.argv[1:]); print('ข้อความ', file=sys.stderr)")
    result = await run(allowing(path, arguments=("--fixed",)), "ชื่อ สกุล", "$(id); rm -rf *", 2569, "")
    assert result["stdout"] == "['--fixed', 'ชื่อ สกุล', '$(id); rm -rf *', '2569', '']\n"
    assert (result["stderr"], result["exitCode"]) == ("ข้อความ\n", 0)
    assert result["durationMs"] >= result["cpuMs"] > 0
    assert "truncated" not in result


async def test_program_inherits_only_what_the_settings_list(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_OF_THE_SERVICE", "x")
    monkeypatch.setenv("TZ", "Asia/Bangkok")
    path = script(
        tmp_path,
        """
        import json
        descriptors = sorted(fd for fd in os.listdir("/proc/self/fd") if os.path.exists("/proc/self/fd/" + fd))
        handled = [n for n in range(1, 32) if signal.getsignal(n) == signal.SIG_IGN]
        print(json.dumps([dict(os.environ), descriptors, os.getcwd(), os.getsid(0) == os.getpid(), handled]))
        """,
    )
    settings = allowing(
        path,
        inherit=("TZ", "NOT_THERE"),
        environment={"LANG": "th_TH.UTF-8"},
        secrets={"API_KEY": "k-12345"},
        variables=("ROUND",),
        folder=str(tmp_path),
    )
    result = await run(settings, env={"ROUND": "2569"}, context=StandIn(user_id="สมชาย", attempt=2))
    environment, descriptors, folder, leads, ignored = orjson.loads(result["stdout"])
    environment.pop("LC_CTYPE", None)  # Python's own, for the C locale
    assert environment.pop("INSIGNIA_WORKER_CHILD_OF")
    assert environment == {
        "TZ": "Asia/Bangkok",
        "LANG": "th_TH.UTF-8",
        "API_KEY": "***",
        "ROUND": "2569",
        "INSIGNIA_JOB_ID": StandIn().job_id,
        "INSIGNIA_USER_ID": "สมชาย",
        "INSIGNIA_ATTEMPT": "2",
    }
    assert descriptors[:4] == ["0", "1", "2", "3"]
    assert len(descriptors) <= 4, "the descriptor that lists them is closed again"
    assert (folder, leads) == (str(tmp_path), True)
    assert ignored == [int(signal.SIGPIPE), int(signal.SIGXFSZ)], "Python ignores these by itself"


async def test_program_does_not_inherit_ignored_or_blocked_signals(tmp_path: Path) -> None:
    """As under nohup, or in the background of a shell."""
    path = script(
        tmp_path,
        """
        ignored = [n for n in signal.valid_signals() if signal.getsignal(n) == signal.SIG_IGN]
        print(sorted(map(int, ignored)), signal.pthread_sigmask(signal.SIG_BLOCK, ()))
        """,
    )
    numbers = (signal.SIGQUIT, signal.SIGTSTP, signal.SIGUSR1, signal.SIGRTMIN)
    before = {number: signal.signal(number, signal.SIG_IGN) for number in numbers}
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR2, signal.SIGTERM})
    try:
        result = await run(allowing(path))
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        for number, handler in before.items():
            signal.signal(number, handler)
    assert result["stdout"] == f"{[int(signal.SIGPIPE), int(signal.SIGXFSZ)]} set()\n"


@pytest.fixture
def background_signals() -> Iterator[None]:
    """The signals as a shell leaves them for a process that it starts in the background, and one that is blocked."""
    numbers = (signal.SIGINT, signal.SIGQUIT, signal.SIGUSR1, signal.SIGRTMIN)
    previous = {number: signal.signal(number, signal.SIG_IGN) for number in numbers}
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR2})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        for number, handler in previous.items():
            signal.signal(number, handler)


async def test_command_started_with_ignored_and_blocked_signals_passes_none_of_them_on(
    tmp_path: Path, background_signals: None
) -> None:
    path = script(
        tmp_path,
        """
        import json
        status = dict(line.split(":", 1) for line in open("/proc/self/status") if line.startswith("Sig"))
        print(json.dumps([int(status[name], 16) for name in ("SigIgn", "SigBlk")]))
        """,
    )
    ignored, blocked = orjson.loads((await run(allowing(path)))["stdout"])
    changeable = signal.valid_signals()  # the C library keeps two for itself
    assert {n for n in range(1, 65) if ignored >> (n - 1) & 1 and n in changeable} == {signal.SIGPIPE, signal.SIGXFSZ}
    assert blocked == 0


@pytest.mark.parametrize("size", [0, 5, 3_000_000])
async def test_standard_input_is_written_and_closed(tmp_path: Path, size: int) -> None:
    path = script(tmp_path, "print(len(sys.stdin.read()))")
    result = await run(allowing(path, stdin=True), stdin="ก" * size)
    assert result["stdout"] == f"{size}\n"


async def test_program_may_leave_its_input_unread(tmp_path: Path) -> None:
    path = script(tmp_path, "print('done')")
    assert (await run(allowing(path, stdin=True), stdin="x" * 3_000_000))["stdout"] == "done\n"


async def test_program_may_use_code_page_874(tmp_path: Path) -> None:
    path = script(tmp_path, "sys.stdout.buffer.write(sys.stdin.buffer.read() + 'ครับ'.encode('cp874'))")
    result = await run(allowing(path, stdin=True, encoding="cp874"), stdin="สวัสดี")
    assert result["stdout"] == "สวัสดีครับ"


async def test_progress_is_read_from_stderr_and_descriptor_3(tmp_path: Path) -> None:
    path = script(
        tmp_path,
        """
        print("::progress 40 ครึ่งทาง", "plain", sep="\\n", file=sys.stderr, flush=True)
        while not os.path.exists(sys.argv[1]):
            time.sleep(0.005)
        os.write(3, "::progress 80 เกือบแล้ว\\nnoise\\n".encode())
        print("::progress 90 not on stdout")
        """,
    )
    context = StandIn()
    running = asyncio.ensure_future(run(allowing(path), str(tmp_path / "go on"), context=context))
    await eventually(lambda: (40.0, "ครึ่งทาง") in context.reported)
    (tmp_path / "go on").touch()
    result = await running
    assert context.reported == [(0, "running it"), (40.0, "ครึ่งทาง"), (80.0, "เกือบแล้ว")]
    assert (result["stderr"], result["stdout"]) == ("plain\n", "::progress 90 not on stdout\n")


async def test_progress_in_quick_succession_is_throttled(tmp_path: Path) -> None:
    path = script(tmp_path, "for n in range(100_000): print(f'::progress {n // 1000} n', file=sys.stderr)")
    context = StandIn()
    began = time.monotonic()
    await run(allowing(path), context=context)
    assert len(context.reported) < 20 + 10 * (time.monotonic() - began)


async def test_large_output_is_cut_in_the_middle_between_letters(tmp_path: Path) -> None:
    path = script(
        tmp_path,
        """
        sys.stdout.write("ต้น")
        for _ in range(200): sys.stdout.write("กำ" * 100_000)
        sys.stdout.write("ปลาย")
        """,
    )
    result = await run(allowing(path, max_output=1000))
    assert result["truncated"]
    parts = re.fullmatch(r"(.*)\n… (\d+) bytes left out …\n(.*)", result["stdout"])
    assert parts is not None
    first, count, last = parts.groups()
    assert int(count) == 200 * 600_000 + 9 + 12 - 1000
    assert first.startswith("ต้นกำกำ")
    assert last.endswith("กำปลาย")
    assert first.endswith("กำ")
    assert last.startswith("กำ")


SECRET = "s3cr3t-Pässw0rd/with\\slash"


@pytest.mark.parametrize("spelling", ["secret", "json.dumps(secret)", "quote(secret, safe='')", "b64(secret)"])
async def test_secret_is_masked_in_output_notes_and_errors(tmp_path: Path, spelling: str) -> None:
    path = script(
        tmp_path,
        f"""
        import base64, json
        from urllib.parse import quote
        b64 = lambda text: base64.b64encode(text.encode()).decode()
        secret = os.environ["DB_PASSWORD"]
        shown = {spelling}
        print("out", shown)
        print("::progress 40", "x" * 190, shown, file=sys.stderr, flush=True)
        os.write(3, f"::progress 50 {{shown}}".encode())
        print("err", shown, file=sys.stderr)
        sys.exit(int(sys.argv[1]))
        """,
    )
    context = StandIn()
    result = await run(allowing(path, secrets={"DB_PASSWORD": SECRET}), "0", context=context)
    with pytest.raises(Discard) as caught:
        await run(allowing(path, secrets={"DB_PASSWORD": SECRET}), "1", context=context)
    seen = f"{result['stdout']}\n{result['stderr']}\n{caught.value}\n{context.reported}"
    assert result["stdout"].strip('out "\n') == "***"
    assert (50.0, '"***"' if "json" in spelling else "***") in context.reported
    assert not [part for part in ("s3cr", "ssw0", "slash", "czNjcj") if part in seen]


@pytest.mark.parametrize("most", range(256, 300, 4))
async def test_secret_at_a_cut_of_the_output_is_masked_as_a_whole(tmp_path: Path, most: int) -> None:
    path = script(tmp_path, "s = os.environ['A']; print('a' * 120 + s + 'b' * 9999 + s + 'c' * 119)")
    result = await run(allowing(path, max_output=most, secrets={"A": SECRET}))
    assert result["truncated"]
    assert re.fullmatch(r"a{120}\*\*\*b*\n… \d+ bytes left out …\nb*\*\*\*c{119}\n", result["stdout"])


# -- how it ends ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "kind", "retryable"),
    [(75, WorkerError, True), (9, WorkerError, True), (1, Discard, False), (127, Discard, False)],
)
async def test_exit_code_decides_the_outcome(
    tmp_path: Path, code: int, kind: type[WorkerError], retryable: bool
) -> None:
    path = script(tmp_path, f"print('แถว 7 เสีย', file=sys.stderr); sys.exit({code})")
    with pytest.raises(kind, match=rf"it ended with exit code {code}.*: แถว 7 เสีย") as caught:
        await run(allowing(path, retry_codes=(75, 9)))
    assert failure_of(caught.value, Redactor.of([])).retryable is retryable


async def test_exit_code_listed_as_success_succeeds(tmp_path: Path) -> None:
    path = script(tmp_path, "sys.exit(3)")
    assert (await run(allowing(path, success_codes=(0, 3))))["exitCode"] == 3


async def test_program_killed_by_a_signal_counts_as_crashed(tmp_path: Path) -> None:
    path = script(tmp_path, "os.kill(os.getpid(), signal.SIGSEGV)")
    with pytest.raises(Crashed, match="it was killed by SIGSEGV"):
        await run(allowing(path))


async def test_error_message_quotes_the_end_of_a_long_output(tmp_path: Path) -> None:
    path = script(tmp_path, "print('ก' * 5000 + 'ท้าย', file=sys.stderr); sys.exit(1)")
    with pytest.raises(Discard) as caught:
        await run(allowing(path))
    assert len(str(caught.value)) < 1100
    assert str(caught.value).endswith("ท้าย")


@pytest.mark.parametrize(
    ("what", "message"), [("missing", "No such file"), ("plain", "Permission denied"), ("folder", "its Folder")]
)
async def test_program_that_cannot_be_started_is_retried_with_the_reason(
    tmp_path: Path, what: str, message: str
) -> None:
    (tmp_path / "plain").write_text("x")
    path = script(tmp_path, "") if what == "folder" else str(tmp_path / what)
    folder = str(tmp_path / "none") if what == "folder" else "/"
    with pytest.raises(Unavailable, match=f"it cannot be started: .*{message}"):
        await run(allowing(path, folder=folder))


async def test_arguments_longer_than_the_system_allows_are_discarded(tmp_path: Path) -> None:
    path = script(tmp_path, "")
    with pytest.raises(Discard, match="longer than the system allows"):
        await run(allowing(path, patterns=("x*",), max_arguments=1000), *["x" * 100_000] * 30)


async def test_processes_that_a_program_leaves_running_are_killed(tmp_path: Path) -> None:
    """A daemon in a session of its own that holds the output open."""
    path = script(
        tmp_path,
        """
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                mark(sys.argv[1], os.getpid())
                time.sleep(600)
            os._exit(0)
        while not os.path.exists(sys.argv[1]): time.sleep(0.005)
        print("left one")
        """,
    )
    async with asyncio.timeout(120):
        result = await run(allowing(path), str(tmp_path / "mark"))
    assert result["stdout"] == "left one\n"
    assert dead(tmp_path / "mark")


async def test_program_over_its_timeout_is_killed_with_its_descendants(tmp_path: Path) -> None:
    path = script(tmp_path, FORKS_AND_IGNORES)
    for seconds in (3, 60):  # on a busy machine it may not have begun after the first
        with pytest.raises(TimedOut, match=f"it took longer than {seconds} s"):
            await run(allowing(path, timeout=seconds * 1000, grace=50), str(tmp_path / "mark"))
        if (tmp_path / "mark").exists():
            break
    assert len(pids_in(tmp_path / "mark")) == 3
    assert dead(tmp_path / "mark")


async def test_program_receives_sigterm_before_it_is_killed(tmp_path: Path) -> None:
    path = script(
        tmp_path,
        """
        def tidy(*_):
            mark(sys.argv[1] + ".tidy", "yes")
            sys.exit(0)
        signal.signal(signal.SIGTERM, tidy)
        mark(sys.argv[1], os.getpid())
        time.sleep(600)
        """,
    )
    running = asyncio.ensure_future(run(with_grace(path, 300_000), str(tmp_path / "mark")))
    await eventually((tmp_path / "mark").exists)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert (tmp_path / "mark.tidy").exists()
    assert dead(tmp_path / "mark")


async def test_second_cancel_does_not_wait_for_the_grace_period(tmp_path: Path) -> None:
    path = script(tmp_path, FORKS_AND_IGNORES)
    running = asyncio.ensure_future(run(with_grace(path, 300_000), str(tmp_path / "mark")))
    await eventually((tmp_path / "mark").exists)
    running.cancel()
    await asyncio.sleep(0)
    running.cancel()
    async with asyncio.timeout(60):
        with pytest.raises(asyncio.CancelledError):
            await running
    assert dead(tmp_path / "mark")


async def test_program_dies_with_a_killed_supervisor(tmp_path: Path) -> None:
    path = script(tmp_path, "mark(sys.argv[1], f'{os.getpid()} {os.getppid()}'); time.sleep(600)")
    running = asyncio.ensure_future(run(allowing(path), str(tmp_path / "mark")))
    await eventually((tmp_path / "mark").exists)
    program, supervisor = pids_in(tmp_path / "mark")
    os.kill(supervisor, signal.SIGKILL)
    with pytest.raises(Crashed, match="the program with it"):
        await running
    await eventually(lambda: not is_running(program))


async def test_signals_to_the_supervisor_do_not_end_the_program(tmp_path: Path) -> None:
    path = script(
        tmp_path,
        """
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP): os.kill(os.getppid(), number)
        print("still here")
        """,
    )
    assert (await run(allowing(path)))["stdout"] == "still here\n"


# -- in the executor -----------------------------------------------------------------------------------------------


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    settings = allowing(script(tmp_path, FORKS_AND_IGNORES), grace=100)
    async with a_bench() as bench:
        bench.executor.registry = {"command": run_program}
        bench.executor.sections = {"Handlers": settings}
        yield bench


@pytest.mark.parametrize(("cause", "expected"), [("cancel", "Cancelled"), ("stop", None)])
async def test_job_that_is_cancelled_or_released_leaves_no_process(
    bench: Bench, tmp_path: Path, cause: str, expected: str | None
) -> None:
    job = a_claimed_job("command", {"command": "it", "args": [str(tmp_path / "mark")]})
    ended = bench.start(job)
    await eventually((tmp_path / "mark").exists)
    if cause == "cancel":
        bench.executor.cancel(job.id)
    else:
        bench.executor.stop_all()
    attempt = await ended
    assert (attempt.failure.type if attempt and attempt.failure else None) == expected
    assert dead(tmp_path / "mark")
    assert bench.events == []


# -- what is allowed -----------------------------------------------------------------------------------------------


def refusal(settings: HandlersSettings | None, **payload: Any) -> str:
    with pytest.raises(InvalidPayload) as caught:
        check(CommandPayload.model_validate({"command": "report"} | payload), settings)
    return str(caught.value)


REPORT = ProgramSettings(
    name="report",
    path="/bin/true",
    patterns=("25[0-9]{2}", "[a-z]+"),
    variables=("LANG",),
    encoding="cp874",
    stdin=True,
)


def only(*programs: ProgramSettings) -> HandlersSettings:
    return HandlersSettings(command=CommandHandlerSettings(programs=programs))


def test_kind_is_off_until_a_program_is_allowed() -> None:
    for settings in (None, HandlersSettings()):
        message = "jobs of kind command are off: add the programs they may run to Handlers:Command:Programs"
        assert refusal(settings) == message


async def test_job_is_checked_again_when_it_runs() -> None:
    with pytest.raises(Discard, match="are off"):
        await run_program.run(CommandPayload(command="report"), StandIn(HandlersSettings()))


@pytest.mark.parametrize("args", [[], ["2569"], [2569, "abc"]])
def test_check_accepts_arguments_that_match(args: list[str | int]) -> None:
    check(CommandPayload(command="report", args=args), only(REPORT))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"command": "rm"}, "'rm' is not in Handlers:Command:Programs; known programs: report"),
        ({"command": "/bin/true"}, "is not in Handlers:Command:Programs"),
        ({"args": ["--output=/etc/passwd"]}, "args.0: does not match"),
        ({"args": ["2569\n"]}, "args.0: does not match"),
        ({"args": ["2569", "abc", "abc"]}, "accepts at most 2"),
        ({"env": {"LD_PRELOAD": "x.so"}}, "env.LD_PRELOAD: report does not accept this variable"),
        ({"stdin": "日本"}, "stdin: contains characters that cp874"),
    ],
)
def test_check_rejects_what_the_settings_do_not_allow(fields: dict[str, Any], message: str) -> None:
    assert message in refusal(only(REPORT), **fields)


def test_check_without_patterns_rejects_arguments_and_without_stdin_input() -> None:
    plain = ProgramSettings(name="report", path="/bin/true")
    assert "accepts at most 0" in refusal(only(plain), args=["x"])
    assert "does not accept standard input" in refusal(only(plain), stdin="x")


def test_check_applies_the_last_pattern_to_further_arguments() -> None:
    many = ProgramSettings(name="report", path="/bin/true", patterns=("[a-z]", "[0-9]"), max_arguments=4)
    check(CommandPayload(command="report", args=["a", "1", "2", "3"]), only(many))
    assert "args.3" in refusal(only(many), args=["a", "1", "2", "x"])


def test_check_rejects_an_argument_whose_pattern_takes_too_long() -> None:
    slow = ProgramSettings(name="report", path="/bin/true", patterns=("(a|aa|b?)+c",))
    assert "args.0: does not match" in refusal(only(slow), args=["a" * 5000])


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"args": ["a\0b"]}, "args.0.*NUL"),
        ({"args": [True]}, "args"),
        ({"env": {"A": "\0"}}, "env.A.*NUL"),
        ({"shell": True}, "shell"),
        ({"command": ""}, "command"),
    ],
)
def test_payload_that_does_not_fit_the_model_is_rejected(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidPayload, match=message):
        run_program.validate(orjson.dumps({"command": "report"} | fields))


# -- in the real service -------------------------------------------------------------------------------------------


def configure(folder: Path, path: str) -> None:
    program = {"Name": "it", "Path": path, "Patterns": [".*"]}
    settings = {
        "Handlers": {"Command": {"Programs": [program], "Grace": 100}},
        "WebSocket": {"DefaultUserId": "user-1"},
        "Http": {"Url": "http://127.0.0.1:0"},
        "Hub": {"Enabled": "false"},
    }
    (folder / "appsettings.json").write_bytes(orjson.dumps(settings))


async def test_program_does_not_survive_sigkill_of_the_service(tmp_path: Path) -> None:
    configure(tmp_path, script(tmp_path, FORKS_AND_IGNORES))
    async with running_worker(tmp_path) as service:
        job = {"taskType": "command", "payload": {"command": "it", "args": [str(tmp_path / "mark")]}}
        await asyncio.to_thread(service.client.request, "POST", "/api/v1/jobs", job)
        await eventually((tmp_path / "mark").exists)
        pids = pids_in(tmp_path / "mark")
        assert [is_running(pid) for pid in pids] == [True, True, True]
        service.kill()
    await eventually(lambda: not any(is_running(pid) for pid in pids))


async def test_stopping_the_service_releases_the_job_and_leaves_no_process(tmp_path: Path) -> None:
    for seconds in (0.2, 30):  # a stop is forced five seconds later, which a busy machine may need more than
        folder = tmp_path / str(seconds)
        folder.mkdir()
        mark = folder / "mark"
        configure(folder, script(folder, FORKS_AND_IGNORES))
        async with running_worker(folder, f"--HostOptions:ShutdownTimeout={seconds}") as service:
            job = {"taskType": "command", "payload": {"command": "it", "args": [str(mark)]}}
            await asyncio.to_thread(service.client.request, "POST", "/api/v1/jobs", job)
            await eventually(mark.exists)
            code = await service.stop(seconds=120)
        await eventually(partial(dead, mark))
        if code != FORCED_STOP:
            break
    assert code == 0


async def test_enqueue_rejects_what_is_not_allowed(tmp_path: Path) -> None:
    configure(tmp_path, sys.executable)
    async with running_worker(tmp_path) as service:
        for payload, message in (
            ({"command": "other"}, "is not in"),
            ({"command": "it", "args": ["a", "b"]}, "at most"),
        ):
            with pytest.raises(ApiRejected, match=message):
                await asyncio.to_thread(
                    service.client.request, "POST", "/api/v1/jobs", {"taskType": "command", "payload": payload}
                )
        with pytest.raises(ApiRejected, match="jobs of kind http are off"):
            await asyncio.to_thread(
                service.client.request,
                "POST",
                "/api/v1/jobs",
                {"taskType": "http", "payload": {"url": "https://api.example/"}},
            )
