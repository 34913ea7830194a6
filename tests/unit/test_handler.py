"""Handlers: their definition, and how they are found."""

import gc
import sys
import weakref
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from pydantic import BaseModel, ConfigDict, Field, field_validator

import worker.handlers
from tests.support import handlers
from worker.errors import DuplicateHandler, InvalidPayload
from worker.handler import Handler, call, call_blocking, discover, encode_result, handler


class Order(BaseModel):
    model_config = ConfigDict(extra="forbid")
    person_id: str = Field(default="1101700203451", max_length=13)
    count: int = 1

    @field_validator("count")
    @classmethod
    def _positive(cls, value: int) -> int:
        if value < 0:
            raise ValueError("must not be negative")
        return value


def plain(payload: Order) -> str:
    return payload.person_id


async def coroutine(payload: Order, context: Any) -> str:
    return f"{payload.person_id} {context}"


# -- the decorator -------------------------------------------------------------------------------------------


def test_handler_of_a_plain_function_runs_in_a_thread() -> None:
    made = handler("count", timeout=10.0, section="Insignia")(plain)
    assert made == Handler("count", Order, plain, "thread", 10.0, "Insignia", __name__, takes_context=False)


def test_handler_of_a_coroutine_function_runs_in_the_event_loop() -> None:
    made = handler("count")(coroutine)
    assert (made.execution, made.takes_context) == ("async", True)


@pytest.mark.parametrize("function", [plain, coroutine])
def test_handler_of_either_can_run_in_a_process(function: Any) -> None:
    assert handler("count", execution="process")(function).execution == "process"


def test_handler_with_an_execution_that_does_not_fit_is_rejected() -> None:
    with pytest.raises(TypeError, match=r"count: execution='async' needs an `async def`"):
        handler("count", execution="async")(plain)
    with pytest.raises(TypeError, match=r"count: execution='thread' needs a plain `def`"):
        handler("count", execution="thread")(coroutine)


def test_handler_without_a_model_is_rejected() -> None:
    def anything(payload: dict[str, Any]) -> None: ...

    def nothing() -> None: ...

    for function in (anything, nothing):
        with pytest.raises(TypeError, match="must be annotated with a pydantic model"):
            handler("count")(function)


# -- calling -------------------------------------------------------------------------------------------------


async def test_call_passes_the_context_only_if_the_function_takes_one() -> None:
    context: Any = "context"
    assert call(handler("a")(plain), Order(person_id="x"), context) == "x"
    assert await call(handler("b")(coroutine), Order(person_id="x"), context) == "x context"


def test_call_blocking_runs_a_coroutine_without_a_loop() -> None:
    context: Any = "context"
    assert call_blocking(handler("b")(coroutine), Order(person_id="x"), context) == "x context"
    assert call_blocking(handler("a")(plain), Order(person_id="x"), context) == "x"


@pytest.mark.parametrize(
    ("result", "encoded"),
    [
        (None, None),
        ({"ก": 1}, '{"ก":1}'.encode()),
        ([], b"[]"),
        (0, b"0"),
        (Order(person_id="x", count=2), b'{"person_id":"x","count":2}'),
    ],
)
def test_encode_result_returns_json(result: object, encoded: bytes | None) -> None:
    assert encode_result(result) == encoded


def test_encode_result_rejects_other_values() -> None:
    with pytest.raises(TypeError):
        encode_result(object())


# -- payloads ------------------------------------------------------------------------------------------------


def test_validate_returns_the_model() -> None:
    assert handler("count")(plain).validate(b'{"count":"2"}') == Order(count=2)


def test_validate_names_every_fault_in_one_line() -> None:
    with pytest.raises(InvalidPayload) as raised:
        handler("count")(plain).validate(b'{"person_id":"11017002034512","count":-1,"extra":1}')
    assert str(raised.value) == (
        "payload of count: person_id: String should have at most 13 characters; "
        "count: must not be negative; extra: Extra inputs are not permitted"
    )


@pytest.mark.parametrize(
    "payload", [b'{"person_id":["1101700203451"]}', b"1101700203451", b'{"count":"1101700203451x"']
)
def test_validate_does_not_quote_values(payload: bytes) -> None:
    with pytest.raises(InvalidPayload) as raised:
        handler("count")(plain).validate(payload)
    assert "1101700203451" not in str(raised.value)
    assert raised.value.__cause__ is None  # its text would hold them
    assert raised.value.__suppress_context__


def test_validate_counts_faults_beyond_ten() -> None:
    class Many(BaseModel):
        values: list[int]

    def many(payload: Many) -> None: ...

    with pytest.raises(InvalidPayload) as raised:
        handler("many")(many).validate(b'{"values":[' + b",".join([b'"x"'] * 25) + b"]}")
    assert str(raised.value).count("values.") == 10
    assert str(raised.value).endswith(" (and 15 more)")


@pytest.mark.parametrize("payload", [b'{"count":-1}', b'{"count":"x"}', b"[1]", b"{"])
def test_error_of_a_payload_is_freed_without_the_garbage_collector(payload: bytes) -> None:
    """It holds the payload, and many large ones would fill the memory before the collector runs."""
    gc.collect()
    gc.disable()
    try:
        handler("count")(plain).validate(payload)
    except InvalidPayload as exc:
        error = weakref.ref(exc)
    finally:
        gc.enable()
    assert error() is None


# -- finding -------------------------------------------------------------------------------------------------


def test_discover_returns_the_handlers_of_a_module_by_kind() -> None:
    found = discover([handlers])
    assert found["echo"] is handlers.echo
    assert all(kind == value.kind for kind, value in found.items())
    assert discover([handlers.__name__]) == found


def test_discover_accepts_the_same_module_twice() -> None:
    assert discover([handlers, handlers.__name__]) == discover([handlers])


def test_discover_ignores_imported_handlers() -> None:
    module = ModuleType("borrower")
    module.__dict__["borrowed"] = handlers.echo
    assert discover([module]) == {}


def test_discover_names_two_handlers_of_one_kind() -> None:
    rival = ModuleType("rival")
    rival.__dict__["echo"] = Handler("echo", Order, plain, "thread", module="rival")
    with pytest.raises(DuplicateHandler, match=r"two handlers for kind 'echo': tests\.support\.handlers and rival"):
        discover([handlers, rival])


def test_discover_searches_a_package_at_any_depth_without_running_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "orders_of_the_day"
    (package / "loud").mkdir(parents=True)
    for folder in (package, package / "loud"):
        (folder / "__init__.py").touch()
        (folder / "__main__.py").write_text("raise SystemExit('the package was run')\n", encoding="utf-8")
    for path, kind in ((package / "quiet.py", "quiet"), (package / "loud" / "shout.py", "shout")):
        path.write_text(
            "from pydantic import BaseModel\n"
            "from worker.handler import handler\n"
            "class Words(BaseModel):\n    text: str\n"
            f"@handler('{kind}')\nasync def speak(payload: Words) -> str:\n    return payload.text\n",
            encoding="utf-8",
        )
    monkeypatch.syspath_prepend(tmp_path)
    try:
        found = discover(["orders_of_the_day"])
    finally:
        for name in [name for name in sys.modules if name.startswith("orders_of_the_day")]:
            del sys.modules[name]
    assert {kind: value.module for kind, value in found.items()} == {
        "quiet": "orders_of_the_day.quiet",
        "shout": "orders_of_the_day.loud.shout",
    }


def test_discover_finds_the_kinds_that_are_shipped() -> None:
    assert set(discover([worker.handlers])) == {"command", "http", "insignia_background_processing"}


def test_admit_checks_the_model_and_then_the_settings() -> None:
    def check(payload: Order, settings: int) -> None:
        if payload.count > settings:
            raise InvalidPayload(f"count: more than {settings} are not allowed")

    wary = handler("wary", check=check)(plain)
    wary.admit(b'{"count": 2}', 2)
    with pytest.raises(InvalidPayload, match="more than 2 are not allowed"):
        wary.admit(b'{"count": 3}', 2)
    with pytest.raises(InvalidPayload, match=r"payload of wary: count: "):
        wary.admit(b'{"count": "many"}', 2)
