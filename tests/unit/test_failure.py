"""What a failure says about its exception."""

import json
import linecache
import os
import sys
from pathlib import Path

import orjson
import pytest

from worker.core import job as job_module
from worker.core.failure import Failure, failure_of, innermost_cause, localized_of, new_error_id
from worker.core.redact import Redactor
from worker.errors import Cancelled, Crashed, Discard, Interrupted, InvalidPayload, RetryLater, TimedOut, WorkerError

redact = Redactor.of(["hush-hush"])


def raised(exc: BaseException, **_locals: object) -> Failure:
    try:
        raise exc
    except BaseException as caught:
        return failure_of(caught, redact)


def test_failure_of_a_worker_error_has_its_message() -> None:
    failure = raised(Discard("the roster is empty"))
    assert (failure.type, failure.message) == ("Discard", "the roster is empty")


def test_failure_of_a_worker_error_without_a_message_has_its_class_name() -> None:
    assert raised(TimedOut()).message == "TimedOut"


def test_failure_of_another_error_has_its_class_name_and_message() -> None:
    assert raised(ValueError("no luck")).message == "ValueError: no luck"
    assert raised(ValueError()).message == "ValueError"


@pytest.mark.parametrize(
    ("exc", "retryable", "cancelled"),
    [
        (ValueError("x"), True, False),
        (TimedOut("x"), True, False),
        (Interrupted("x"), True, False),
        (Crashed("x"), True, False),
        (Discard("x"), False, False),
        (InvalidPayload("x"), False, False),
        (Cancelled("by an operator"), False, True),
    ],
)
def test_failure_is_retryable_or_cancelled_by_its_class(exc: BaseException, retryable: bool, cancelled: bool) -> None:
    failure = raised(exc)
    assert (failure.retryable, failure.cancelled) == (retryable, cancelled)


def test_failure_of_a_cancellation_is_called_cancelled() -> None:
    assert raised(Cancelled("anything")).message == "Cancelled"


def test_failure_of_an_error_that_was_never_raised_has_no_stack_trace() -> None:
    assert failure_of(ValueError("x"), redact).stack_trace is None


def test_numbers_and_secrets_are_masked_in_message_and_trace() -> None:
    failure = raised(ValueError("officer 1101700203451 with hush-hush"))
    assert failure.message == "ValueError: officer xxxxxxxxxxxxx with ***"
    assert failure.stack_trace is not None
    assert failure.stack_trace.splitlines()[-1] == "ValueError: officer xxxxxxxxxxxxx with ***"
    assert "hush-hush" not in failure.stack_trace


def test_citizen_id_in_a_line_of_code_is_masked() -> None:
    failure = failure_of(_from_source("check('1101700203451')\n"), redact)
    assert failure.stack_trace is not None
    assert "1101700203451" not in failure.stack_trace


def _from_source(source: str) -> BaseException:
    """Return an error raised by source code that a traceback can quote."""
    name = "<order>"
    linecache.cache[name] = (len(source), None, source.splitlines(keepends=True), name)
    try:
        exec(compile(source, name, "exec"), {})
    except NameError as exc:
        return exc
    raise AssertionError


def test_stack_trace_has_paths_relative_to_the_package_root() -> None:
    failure = raised(ValueError("x"))
    assert failure.stack_trace is not None
    files = [line.split('"')[1] for line in failure.stack_trace.splitlines() if line.startswith("  File")]
    assert files == ["tests/unit/test_failure.py"]
    assert os.fspath(Path(__file__).parents[2]) not in failure.stack_trace


def test_stack_trace_through_a_library_has_no_absolute_path() -> None:
    try:
        json.loads("{")
    except ValueError as exc:
        failure = failure_of(exc, redact)
    assert failure.stack_trace is not None
    assert 'File "json/decoder.py"' in failure.stack_trace
    assert 'File "/' not in failure.stack_trace


def test_message_of_an_import_error_has_no_absolute_path() -> None:
    """ImportError quotes the path of the file."""
    failure = raised(ImportError(f"cannot import name 'x' from 'worker.core.job' ({job_module.__file__})"))
    assert failure.message == "ImportError: cannot import name 'x' from 'worker.core.job' (worker/core/job.py)"


def test_stack_trace_contains_no_local_variables() -> None:
    def handler(password: str) -> None:
        kept = password * 2
        raise ValueError(len(kept))

    try:
        handler("geheim")
    except ValueError as exc:
        failure = failure_of(exc, redact)
    assert failure.stack_trace is not None
    assert "geheimgeheim" not in failure.stack_trace
    assert failure.stack_trace.endswith("\nValueError: 12")


def test_failure_with_a_file_name_that_is_not_utf_8_can_be_encoded() -> None:
    failure = raised(FileNotFoundError(2, "No such file", os.fsdecode(b"\xa1\xa2.csv")))
    assert orjson.loads(orjson.dumps([failure.message, failure.stack_trace])) == [failure.message, failure.stack_trace]
    assert "udca1" in failure.message


def test_failure_of_an_error_whose_str_raises_has_its_class_name() -> None:
    class Broken(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    assert raised(Broken()).message == "Broken"


def test_failure_message_of_megabytes_is_cut() -> None:
    failure = raised(ValueError("ก" * 5_000_000))
    assert len(failure.message) < 20_000
    assert failure.message.endswith("…")
    assert failure.stack_trace is not None
    assert len(failure.stack_trace) < 60_000


def test_endless_recursion_keeps_both_ends_of_its_stack_trace() -> None:
    def endless() -> None:
        endless()

    try:
        endless()
    except RecursionError as exc:
        failure = failure_of(exc, redact)
    assert failure.stack_trace is not None
    lines = failure.stack_trace.splitlines()
    assert len(lines) < 200
    assert "in test_endless_recursion_keeps_both_ends" in lines[1]
    assert lines[-1].startswith("RecursionError: ")


def test_stack_trace_begins_at_the_handler() -> None:
    """Frames of the executor around the handler are left out."""
    exc = _thrown_through("runtime/executor.py")
    assert exc.__traceback__ is not None
    failure = failure_of(exc.with_traceback(exc.__traceback__.tb_next), redact)
    assert failure.stack_trace is not None
    assert next(line for line in failure.stack_trace.splitlines() if "File" in line).endswith("in _boom")


def _thrown_through(module: str) -> BaseException:
    path = Path(sys.modules["worker.core.failure"].__file__ or "").parents[1] / module
    scope: dict[str, object] = {"boom": _boom}
    try:
        exec(compile("boom()", os.fspath(path), "exec"), scope)
    except ValueError as exc:
        return exc
    raise AssertionError


def _boom() -> None:
    raise ValueError("x")


def test_error_ids_are_short_and_differ() -> None:
    ids = {new_error_id() for _ in range(1000)}
    assert len(ids) == 1000
    assert all(len(error_id) == 12 and int(error_id, 16) >= 0 for error_id in ids)


def test_failure_of_retry_later_has_its_delay() -> None:
    assert failure_of(RetryLater("busy", 30.0), Redactor.of([])).retry_after == 30.0
    assert failure_of(WorkerError("busy"), Redactor.of([])).retry_after is None


def test_innermost_cause_of_a_chain_is_its_first_exception() -> None:
    first, second, third = ValueError("first"), KeyError("second"), OSError("third")
    second.__context__, third.__cause__ = first, second
    assert innermost_cause(third) is first
    assert innermost_cause(first) is first


def test_innermost_cause_of_a_cyclic_chain_ends() -> None:
    first, second = ValueError("first"), KeyError("second")
    first.__cause__, second.__cause__ = second, first
    assert innermost_cause(first) is second


@pytest.mark.parametrize("stored", [b"{", b"\xff", b'{"error"', b"[]", b'{"error": {"code": 1}}', b"", None])
def test_code_of_a_failure_that_is_damaged_in_the_store_is_missing(stored: bytes | None) -> None:
    assert localized_of(stored) is None
