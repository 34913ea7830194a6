"""A time limit in a test ends a test that hangs, and nothing else: on a busy machine everything takes longer."""

import ast
from collections.abc import Iterator

from tests.support.repository import files, name_of

LEAST = 30.0
"""Seconds."""

_FIRST = {"timeout", "join", "result"}
"""Functions and methods whose first argument is a limit: asyncio.timeout, Thread.join, Future.result."""
_KEYWORDS = {"eventually", "run", "wait_for", "receive", "receive_str", "receive_json", "call", "urlopen"}
"""Functions and methods whose argument `timeout` is a limit."""
_PATIENT = {"stop", "until", "_until"}
"""Functions and methods of these tests whose argument `seconds` is a limit."""


def test_no_time_limit_of_a_test_is_shorter_than_a_busy_machine_needs() -> None:
    found = [
        f"{name_of(path)}:{line} ends the test after {seconds:g} s; {LEAST:g} or more, or wait for an event"
        for path in files(".py", "tests")
        for line, seconds in _limits(ast.parse(path.read_text(encoding="utf-8")))
        if seconds < LEAST
    ]
    assert found == []


def _limits(tree: ast.AST) -> Iterator[tuple[int, float]]:
    """Return line and seconds of each limit that is written as a number."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            for value in _limits_of(node):
                if isinstance(value, ast.Constant) and isinstance(value.value, (int, float)):
                    yield node.lineno, float(value.value)
        elif isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant):
            names = [target.id for target in node.targets if isinstance(target, ast.Name)]
            if "PATIENCE" in names and isinstance(node.value.value, (int, float)):
                yield node.lineno, float(node.value.value)


def _limits_of(call: ast.Call) -> Iterator[ast.expr]:
    match call.func:
        case ast.Attribute(attr=name) | ast.Name(id=name):
            pass
        case _:
            return
    if name in _FIRST or (name == "wait" and not _is_asyncio(call.func)):
        yield from call.args[:1]
    if name == "wait_for":
        yield from call.args[1:2]
    if name == "to_thread" and isinstance(call.args[0], ast.Attribute) and call.args[0].attr == "wait":
        yield from call.args[1:]
    if name in _KEYWORDS or name in _FIRST or (name == "wait" and not _is_asyncio(call.func)):
        yield from (keyword.value for keyword in call.keywords if keyword.arg == "timeout")
    if name in _PATIENT:
        yield from (keyword.value for keyword in call.keywords if keyword.arg == "seconds")


def _is_asyncio(function: ast.expr) -> bool:
    """Whether it is asyncio.wait, which returns when its time is over."""
    return (
        isinstance(function, ast.Attribute) and isinstance(function.value, ast.Name) and function.value.id == "asyncio"
    )
