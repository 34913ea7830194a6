"""The kind `command` with real programs: what they are given, what is kept, and that nothing of them stays."""

import asyncio
import os
import re
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from config.settings import CommandHandlerSettings, HandlersSettings, ProgramSettings
from tests.support.attempts import Bench, a_bench, a_job, is_running, pids_in
from tests.support.contexts import StandIn
from tests.support.eventually import eventually
from tests.support.process import running_worker
from tests.support.programs import allowing, script
from worker.client import Refused
from worker.errors import Crashed, Discard, InvalidPayload, TimedOut, Unavailable, WorkerError
from worker.failure import failure_of
from worker.handlers.command import CommandPayload, check, run_program
from worker.redact import Redactor

FORKS_AND_IGNORES = """
    # Ignores SIGTERM, as do its child, and a grandchild in a session of its own.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    child = os.fork()
    if child == 0:
        heir = os.fork()
        if heir == 0:
            os.setsid()
            time.sleep(600)
        mark(sys.argv[1] + ".heir", heir)
        time.sleep(600)
    while not os.path.exists(sys.argv[1] + ".heir"):
        time.sleep(0.005)
    mark(sys.argv[1], f"{os.getpid()} {child} {open(sys.argv[1] + '.heir').read()}")
    time.sleep(600)
"""


async def run(settings: HandlersSettings, *args: str | int, context: StandIn | None = None, **payload: Any) -> Any:
    order = CommandPayload.model_validate({"command": "it", "args": list(args)} | payload)
    given = context or StandIn()
    given.settings = settings
    return await run_program.run(order, given)


def dead(mark: Path) -> bool:
    return not any(is_running(pid) for pid in pids_in(mark))


# -- what it is given ----------------------------------------------------------------------------------------------


async def test_a_program_gets_its_arguments_as_a_list_and_its_output_is_the_result(tmp_path: Path) -> None:
    path = script(tmp_path, "print(sys.argv[1:]); print('ข้อความ', file=sys.stderr)")
    result = await run(allowing(path, arguments=("--fixed",)), "ชื่อ สกุล", "$(id); rm -rf *", 2569, "")
    assert result["stdout"] == "['--fixed', 'ชื่อ สกุล', '$(id); rm -rf *', '2569', '']\n"
    assert (result["stderr"], result["exitCode"]) == ("ข้อความ\n", 0)
    assert result["durationMs"] >= result["cpuMs"] > 0
    assert "truncated" not in result


async def test_nothing_is_inherited_but_what_is_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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
    assert ignored == [int(signal.SIGPIPE), int(signal.SIGXFSZ)], "Python's own; nothing of ours"


@pytest.mark.parametrize("size", [0, 5, 3_000_000])
async def test_standard_input_is_given_and_closed(tmp_path: Path, size: int) -> None:
    path = script(tmp_path, "print(len(sys.stdin.read()))")
    result = await run(allowing(path, stdin=True), stdin="ก" * size)
    assert result["stdout"] == f"{size}\n"


async def test_a_program_need_not_read_its_input(tmp_path: Path) -> None:
    path = script(tmp_path, "print('done')")
    assert (await run(allowing(path, stdin=True), stdin="x" * 3_000_000))["stdout"] == "done\n"


async def test_a_program_of_the_old_code_page_is_understood(tmp_path: Path) -> None:
    path = script(tmp_path, "sys.stdout.buffer.write(sys.stdin.buffer.read() + 'ครับ'.encode('cp874'))")
    result = await run(allowing(path, stdin=True, encoding="cp874"), stdin="สวัสดี")
    assert result["stdout"] == "สวัสดีครับ"


async def test_progress_is_read_from_stderr_and_from_descriptor_3(tmp_path: Path) -> None:
    path = script(
        tmp_path,
        """
        print("::progress 40 ครึ่งทาง", "plain", sep="\\n", file=sys.stderr, flush=True)
        time.sleep(0.5)
        os.write(3, "::progress 80 เกือบแล้ว\\nnoise\\n".encode())
        print("::progress 90 not on stdout")
        """,
    )
    context = StandIn()
    result = await run(allowing(path), context=context)
    assert context.told == [(0, "running it"), (40.0, "ครึ่งทาง"), (80.0, "เกือบแล้ว")]
    assert (result["stderr"], result["stdout"]) == ("plain\n", "::progress 90 not on stdout\n")


async def test_a_flood_of_progress_is_thinned(tmp_path: Path) -> None:
    path = script(tmp_path, "for n in range(100_000): print(f'::progress {n // 1000} n', file=sys.stderr)")
    context = StandIn()
    await run(allowing(path), context=context)
    assert len(context.told) < 200


async def test_a_flood_of_output_is_cut_in_the_middle_at_whole_letters(tmp_path: Path) -> None:
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
    first, count, last = re.fullmatch(r"(.*)\n… (\d+) bytes left out …\n(.*)", result["stdout"]).groups()  # type: ignore[union-attr]
    assert int(count) == 200 * 600_000 + 9 + 12 - 1000
    assert first.startswith("ต้นกำกำ")
    assert last.endswith("กำปลาย")
    assert first.endswith("กำ")
    assert last.startswith("กำ")


# -- how it ends ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "kind", "retryable"),
    [(75, WorkerError, True), (9, WorkerError, True), (1, Discard, False), (127, Discard, False)],
)
async def test_the_exit_code_is_the_outcome(
    tmp_path: Path, code: int, kind: type[WorkerError], retryable: bool
) -> None:
    path = script(tmp_path, f"print('แถว 7 เสีย', file=sys.stderr); sys.exit({code})")
    with pytest.raises(kind, match=rf"it ended with exit code {code}.*: แถว 7 เสีย") as caught:
        await run(allowing(path, retry_codes=(75, 9)))
    assert failure_of(caught.value, Redactor.of([])).retryable is retryable


async def test_other_codes_may_mean_success(tmp_path: Path) -> None:
    path = script(tmp_path, "sys.exit(3)")
    assert (await run(allowing(path, success_codes=(0, 3))))["exitCode"] == 3


async def test_a_program_that_a_signal_killed_has_crashed(tmp_path: Path) -> None:
    path = script(tmp_path, "os.kill(os.getpid(), signal.SIGSEGV)")
    with pytest.raises(Crashed, match="it was killed by SIGSEGV"):
        await run(allowing(path))


async def test_of_a_long_complaint_the_end_is_told(tmp_path: Path) -> None:
    path = script(tmp_path, "print('ก' * 5000 + 'ท้าย', file=sys.stderr); sys.exit(1)")
    with pytest.raises(Discard) as caught:
        await run(allowing(path))
    assert len(str(caught.value)) < 1100
    assert str(caught.value).endswith("ท้าย")


@pytest.mark.parametrize(
    ("what", "told"), [("missing", "No such file"), ("plain", "Permission denied"), ("folder", "its Folder")]
)
async def test_a_program_that_cannot_be_started_says_why_and_may_be_tried_again(
    tmp_path: Path, what: str, told: str
) -> None:
    (tmp_path / "plain").write_text("x")
    path = script(tmp_path, "") if what == "folder" else str(tmp_path / what)
    folder = str(tmp_path / "none") if what == "folder" else "/"
    with pytest.raises(Unavailable, match=f"it cannot be started: .*{told}"):
        await run(allowing(path, folder=folder))


async def test_arguments_that_the_system_does_not_take_are_final(tmp_path: Path) -> None:
    path = script(tmp_path, "")
    with pytest.raises(Discard, match="longer than the system takes"):
        await run(allowing(path, patterns=("x*",), max_arguments=1000), *["x" * 100_000] * 30)


async def test_what_a_program_leaves_behind_ends_with_it(tmp_path: Path) -> None:
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
    async with asyncio.timeout(10):
        result = await run(allowing(path), str(tmp_path / "mark"))
    assert result["stdout"] == "left one\n"
    assert dead(tmp_path / "mark")


async def test_a_program_that_takes_too_long_is_killed_with_all_its_heirs(tmp_path: Path) -> None:
    path = script(tmp_path, FORKS_AND_IGNORES)
    running = asyncio.ensure_future(run(allowing(path, timeout=3000, grace=50), str(tmp_path / "mark")))
    with pytest.raises(TimedOut, match=r"it took longer than 3 s"):
        await running
    assert len(pids_in(tmp_path / "mark")) == 3
    assert dead(tmp_path / "mark")


async def test_a_program_is_asked_before_it_is_killed(tmp_path: Path) -> None:
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
    running = asyncio.ensure_future(run(allowing(path, grace=10_000), str(tmp_path / "mark")))
    await eventually((tmp_path / "mark").exists)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert (tmp_path / "mark.tidy").exists()
    assert dead(tmp_path / "mark")


async def test_a_second_cancel_does_not_wait_for_the_grace(tmp_path: Path) -> None:
    path = script(tmp_path, FORKS_AND_IGNORES)
    running = asyncio.ensure_future(run(allowing(path, grace=10_000), str(tmp_path / "mark")))
    await eventually((tmp_path / "mark").exists)
    running.cancel()
    await asyncio.sleep(0)
    running.cancel()
    async with asyncio.timeout(5):
        with pytest.raises(asyncio.CancelledError):
            await running
    assert dead(tmp_path / "mark")


async def test_a_warden_that_is_killed_takes_the_program_along(tmp_path: Path) -> None:
    path = script(tmp_path, "mark(sys.argv[1], f'{os.getpid()} {os.getppid()}'); time.sleep(600)")
    running = asyncio.ensure_future(run(allowing(path), str(tmp_path / "mark")))
    await eventually((tmp_path / "mark").exists)
    program, warden = pids_in(tmp_path / "mark")
    os.kill(warden, signal.SIGKILL)
    with pytest.raises(Crashed, match="the program with it"):
        await running
    await eventually(lambda: not is_running(program))


async def test_signals_to_the_warden_do_not_end_the_program(tmp_path: Path) -> None:
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
async def test_a_job_that_is_cancelled_or_given_back_leaves_no_process(
    bench: Bench, tmp_path: Path, cause: str, expected: str | None
) -> None:
    job = a_job("command", {"command": "it", "args": [str(tmp_path / "mark")]})
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


# -- what may be run -----------------------------------------------------------------------------------------------


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


def test_the_kind_is_off_until_something_is_allowed() -> None:
    for settings in (None, HandlersSettings()):
        told = "jobs of kind command are off: name what they may run in Handlers:Command:Programs"
        assert refusal(settings) == told


async def test_a_job_from_before_the_settings_changed_is_refused_as_well() -> None:
    with pytest.raises(Discard, match="are off"):
        await run_program.run(CommandPayload(command="report"), StandIn(HandlersSettings()))


@pytest.mark.parametrize("args", [[], ["2569"], [2569, "abc"]])
def test_arguments_that_fit_are_taken(args: list[str | int]) -> None:
    check(CommandPayload(command="report", args=args), only(REPORT))


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"command": "rm"}, "'rm' is not in Handlers:Command:Programs; there are: report"),
        ({"command": "/bin/true"}, "is not in Handlers:Command:Programs"),
        ({"args": ["--output=/etc/passwd"]}, "args.0: does not fit"),
        ({"args": ["2569\n"]}, "args.0: does not fit"),
        ({"args": ["2569", "abc", "abc"]}, "takes 2 at most"),
        ({"env": {"LD_PRELOAD": "x.so"}}, "env.LD_PRELOAD: report takes no such variable"),
        ({"stdin": "日本"}, "stdin: holds signs that cp874"),
    ],
)
def test_what_the_settings_do_not_allow_is_refused(fields: dict[str, Any], told: str) -> None:
    assert told in refusal(only(REPORT), **fields)


def test_a_program_without_patterns_takes_no_arguments_and_without_stdin_no_input() -> None:
    plain = ProgramSettings(name="report", path="/bin/true")
    assert "takes 0 at most" in refusal(only(plain), args=["x"])
    assert "takes no standard input" in refusal(only(plain), stdin="x")


def test_the_last_pattern_holds_for_all_further_arguments() -> None:
    many = ProgramSettings(name="report", path="/bin/true", patterns=("[a-z]", "[0-9]"), max_arguments=4)
    check(CommandPayload(command="report", args=["a", "1", "2", "3"]), only(many))
    assert "args.3" in refusal(only(many), args=["a", "1", "2", "x"])


def test_a_pattern_that_never_ends_is_no_way_to_hold_up_intake() -> None:
    slow = ProgramSettings(name="report", path="/bin/true", patterns=("(a|aa|b?)+c",))
    assert "args.0: does not fit" in refusal(only(slow), args=["a" * 5000])


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"args": ["a\0b"]}, "args.0.*NUL"),
        ({"args": [True]}, "args"),
        ({"env": {"A": "\0"}}, "env.A.*NUL"),
        ({"shell": True}, "shell"),
        ({"command": ""}, "command"),
    ],
)
def test_a_payload_that_does_not_fit_is_refused(fields: dict[str, Any], told: str) -> None:
    with pytest.raises(InvalidPayload, match=told):
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


async def test_kill_9_of_the_service_leaves_nothing_of_the_program(tmp_path: Path) -> None:
    configure(tmp_path, script(tmp_path, FORKS_AND_IGNORES))
    async with running_worker(tmp_path) as service:
        job = {"taskType": "command", "payload": {"command": "it", "args": [str(tmp_path / "mark")]}}
        await asyncio.to_thread(service.client.ask, "POST", "/api/v1/jobs", job)
        await eventually((tmp_path / "mark").exists, timeout=20)
        pids = pids_in(tmp_path / "mark")
        assert [is_running(pid) for pid in pids] == [True, True, True]
        service.kill()
    await eventually(lambda: not any(is_running(pid) for pid in pids), timeout=5)


async def test_stopping_the_service_gives_the_job_back_and_leaves_no_process(tmp_path: Path) -> None:
    configure(tmp_path, script(tmp_path, FORKS_AND_IGNORES))
    async with running_worker(tmp_path, "--HostOptions:ShutdownTimeout=0.2") as service:
        job = {"taskType": "command", "payload": {"command": "it", "args": [str(tmp_path / "mark")]}}
        await asyncio.to_thread(service.client.ask, "POST", "/api/v1/jobs", job)
        await eventually((tmp_path / "mark").exists, timeout=20)
        assert await service.stop() == 0
    await eventually(lambda: dead(tmp_path / "mark"))


async def test_intake_says_what_is_not_allowed(tmp_path: Path) -> None:
    configure(tmp_path, sys.executable)
    async with running_worker(tmp_path) as service:
        for payload, told in (({"command": "other"}, "is not in"), ({"command": "it", "args": ["a", "b"]}, "at most")):
            with pytest.raises(Refused, match=told):
                await asyncio.to_thread(
                    service.client.ask, "POST", "/api/v1/jobs", {"taskType": "command", "payload": payload}
                )
        with pytest.raises(Refused, match="jobs of kind http are off"):
            await asyncio.to_thread(
                service.client.ask,
                "POST",
                "/api/v1/jobs",
                {"taskType": "http", "payload": {"url": "https://api.example/"}},
            )
