"""What a handler is, and how handlers are found."""

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from pydantic import BaseModel, ConfigDict, Field, field_validator

from tests.support import handlers
from worker.errors import DuplicateHandler, InvalidPayload
from worker.handler import Handler, call, call_to_its_end, discover, encode_result, handler


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


def test_a_plain_function_becomes_a_handler_for_a_thread() -> None:
    made = handler("count", timeout=10.0, section="Insignia")(plain)
    assert made == Handler("count", Order, plain, "thread", 10.0, "Insignia", __name__, takes_context=False)


def test_a_coroutine_function_becomes_a_handler_in_the_loop() -> None:
    made = handler("count")(coroutine)
    assert (made.execution, made.takes_context) == ("async", True)


@pytest.mark.parametrize("function", [plain, coroutine])
def test_either_can_run_in_a_process(function: Any) -> None:
    assert handler("count", execution="process")(function).execution == "process"


def test_an_execution_that_does_not_fit_the_function_is_refused() -> None:
    with pytest.raises(TypeError, match=r"count: execution='async' needs an `async def`"):
        handler("count", execution="async")(plain)
    with pytest.raises(TypeError, match=r"count: execution='thread' needs a plain `def`"):
        handler("count", execution="thread")(coroutine)


def test_a_function_without_a_model_is_refused() -> None:
    def anything(payload: dict[str, Any]) -> None: ...

    def nothing() -> None: ...

    for function in (anything, nothing):
        with pytest.raises(TypeError, match="must be annotated with a pydantic model"):
            handler("count")(function)


# -- calling -------------------------------------------------------------------------------------------------


async def test_a_handler_is_given_what_it_has_room_for() -> None:
    context: Any = "context"
    assert call(handler("a")(plain), Order(person_id="x"), context) == "x"
    assert await call(handler("b")(coroutine), Order(person_id="x"), context) == "x context"


def test_a_coroutine_can_be_run_to_its_end_without_a_loop() -> None:
    context: Any = "context"
    assert call_to_its_end(handler("b")(coroutine), Order(person_id="x"), context) == "x context"
    assert call_to_its_end(handler("a")(plain), Order(person_id="x"), context) == "x"


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
def test_a_result_is_kept_as_json(result: object, encoded: bytes | None) -> None:
    assert encode_result(result) == encoded


def test_a_result_that_is_no_json_is_refused() -> None:
    with pytest.raises(TypeError):
        encode_result(object())


# -- payloads ------------------------------------------------------------------------------------------------


def test_a_valid_payload_is_its_model() -> None:
    assert handler("count")(plain).validate(b'{"count":"2"}') == Order(count=2)


def test_every_fault_of_a_payload_is_named_in_one_line() -> None:
    with pytest.raises(InvalidPayload) as raised:
        handler("count")(plain).validate(b'{"person_id":"11017002034512","count":-1,"extra":1}')
    assert str(raised.value) == (
        "payload of count: person_id: String should have at most 13 characters; "
        "count: Value error, must not be negative; extra: Extra inputs are not permitted"
    )


@pytest.mark.parametrize(
    "payload", [b'{"person_id":["1101700203451"]}', b"1101700203451", b'{"count":"1101700203451x"']
)
def test_faults_are_explained_without_values(payload: bytes) -> None:
    with pytest.raises(InvalidPayload) as raised:
        handler("count")(plain).validate(payload)
    assert "1101700203451" not in str(raised.value)
    assert raised.value.__cause__ is None  # its text would hold them
    assert raised.value.__suppress_context__


def test_many_faults_are_counted() -> None:
    class Many(BaseModel):
        values: list[int]

    def many(payload: Many) -> None: ...

    with pytest.raises(InvalidPayload) as raised:
        handler("many")(many).validate(b'{"values":[' + b",".join([b'"x"'] * 25) + b"]}")
    assert str(raised.value).count("values.") == 10
    assert str(raised.value).endswith(" (and 15 more)")


# -- finding -------------------------------------------------------------------------------------------------


def test_the_handlers_of_a_module_are_found_by_kind() -> None:
    found = discover([handlers])
    assert found["echo"] is handlers.echo
    assert all(kind == value.kind for kind, value in found.items())
    assert discover([handlers.__name__]) == found


def test_the_same_module_twice_is_no_conflict() -> None:
    assert discover([handlers, handlers.__name__]) == discover([handlers])


def test_an_imported_handler_is_not_registered_a_second_time() -> None:
    module = ModuleType("borrower")
    module.borrowed = handlers.echo  # type: ignore[attr-defined]
    assert discover([module]) == {}


def test_two_handlers_for_a_kind_are_named() -> None:
    rival = ModuleType("rival")
    rival.echo = Handler("echo", Order, plain, "thread", module="rival")  # type: ignore[attr-defined]
    with pytest.raises(DuplicateHandler, match=r"two handlers for kind 'echo': tests\.support\.handlers and rival"):
        discover([handlers, rival])


def test_the_modules_inside_a_package_are_searched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "orders_of_the_day"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "shout.py").write_text(
        "from pydantic import BaseModel\n"
        "from worker.handler import handler\n"
        "class Shout(BaseModel):\n    text: str\n"
        "@handler('shout')\nasync def shout(payload: Shout) -> str:\n    return payload.text.upper()\n",
        encoding="utf-8",
    )
    monkeypatch.syspath_prepend(tmp_path)
    try:
        found = discover(["orders_of_the_day"])
    finally:
        for name in [name for name in sys.modules if name.startswith("orders_of_the_day")]:
            del sys.modules[name]
    assert {kind: value.module for kind, value in found.items()} == {"shout": "orders_of_the_day.shout"}


def test_intake_asks_the_model_first_and_then_what_the_settings_allow() -> None:
    def check(payload: Order, settings: int) -> None:
        if payload.count > settings:
            raise InvalidPayload(f"count: more than {settings} are not allowed")

    wary = handler("wary", check=check)(plain)
    wary.admit(b'{"count": 2}', 2)
    with pytest.raises(InvalidPayload, match="more than 2 are not allowed"):
        wary.admit(b'{"count": 3}', 2)
    with pytest.raises(InvalidPayload, match=r"payload of wary: count: "):
        wary.admit(b'{"count": "many"}', 2)
