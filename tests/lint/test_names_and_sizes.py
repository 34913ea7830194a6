"""Each class name means one thing, and each module and function is small enough to be read at once.

A function or a call above its limit is accepted when the line above it gives the reason: `# long: ...` or
`# positional: ...`.
"""

import ast
import re
from collections import Counter
from collections.abc import Iterator
from functools import cache

import pytest

from tests.support.repository import files, modules, name_of

MODULE_LINES = 400
FUNCTION_LINES = 40
POSITIONAL_ARGUMENTS = 8

_MODULES = list(modules())


def test_class_name_occurs_once() -> None:
    """The two stores mirror each other: what is the same in both has the same name in modules of the same name."""
    places: dict[str, set[str]] = {}
    for name, _, tree in _MODULES:
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                mirrored = re.sub(r"^worker/stores/(sqlite|postgres)/(search/)?", "", name)
                places.setdefault(node.name, set()).add(mirrored)

    assert {name: where for name, where in places.items() if len(where) > 1} == {}


def test_module_has_at_most_400_lines() -> None:
    sizes = {name: text.count("\n") for name, text, _ in _MODULES}

    assert {name: lines for name, lines in sizes.items() if lines > MODULE_LINES} == {}


def test_function_has_at_most_40_lines() -> None:
    assert [fault for name, text, tree in _MODULES for fault in long_functions(name, text, tree)] == []


def test_call_has_at_most_8_positional_arguments() -> None:
    assert [fault for name, text, tree in _MODULES for fault in wide_calls(name, text, tree)] == []


def test_new_exception_is_raised_without_a_variable() -> None:
    """The variable's frame and the exception's traceback would keep each other, with all that the frame knows."""
    assert [fault for name, _, tree in _MODULES for fault in kept_exceptions(name, tree)] == []


@pytest.mark.parametrize(
    "body", ["e = ValueError(1)\n    raise e", "e = errors.Discard()\n    raise e.localized('x') from None"]
)
def test_new_exception_in_a_variable_is_found(body: str) -> None:
    assert len(list(kept_exceptions("x.py", ast.parse(f"def f():\n    {body}")))) == 1
    assert list(kept_exceptions("x.py", ast.parse("def f(e):\n    raise e"))) == []


def kept_exceptions(name: str, tree: ast.Module) -> Iterator[str]:
    """Yield where a function raises an exception that it has made and assigned."""
    for function in (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)):
        made = {
            target.id
            for node in ast.walk(function)
            if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call) and _is_class(node.value.func)
            for target in node.targets
            if isinstance(target, ast.Name)
        }
        for node in ast.walk(function):
            if isinstance(node, ast.Raise) and _origin(node.exc) in made:
                yield f"{name}:{node.lineno}"


def _is_class(function: ast.expr) -> bool:
    last = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
    return last[:1].isupper()


def _origin(value: ast.expr | None) -> str | None:
    """Return the variable that an expression such as `error.localized(...)` begins with."""
    while isinstance(value, ast.Call | ast.Attribute):
        value = value.func if isinstance(value, ast.Call) else value.value
    return value.id if isinstance(value, ast.Name) else None


def test_name_of_a_test_is_unique_in_its_module_and_begins_with_no_article() -> None:
    faults = [fault for path in files(".py", "tests") for fault in name_faults(name_of(path), path.read_text("utf-8"))]

    assert faults == []


def test_repeated_name_and_article_are_reported() -> None:
    source = "def test_it(): ...\ndef test_it(): ...\nasync def test_a_job_ends(): ...\ndef test_an_id(): ...\n"

    assert name_faults("t.py", source) == ["t.py: test_it occurs twice", "t.py: test_a_job_ends", "t.py: test_an_id"]


@pytest.mark.parametrize(("comment", "faults"), [("# long: one table", 0), ("# long:", 1), ("# a comment", 1)])
def test_long_function_without_a_reason_is_reported(comment: str, faults: int) -> None:
    text = f"{comment}\ndef run() -> None:\n" + "    pass\n" * FUNCTION_LINES

    assert len(list(long_functions("module.py", text, ast.parse(text)))) == faults


@pytest.mark.parametrize(("comment", "faults"), [("# positional: it is hot", 0), ("# positional:", 1), ("pass", 1)])
def test_call_with_many_positional_arguments_without_a_reason_is_reported(comment: str, faults: int) -> None:
    text = f"{comment}\nrun(1, 2, 3, 4, 5, 6, 7, 8, 9)\n"

    assert len(list(wide_calls("module.py", text, ast.parse(text)))) == faults


def name_faults(name: str, text: str) -> list[str]:
    """Return a line for each test function whose name occurs twice or begins with an article instead of its subject."""
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    counts = Counter(node.name for node in ast.parse(text).body if isinstance(node, functions))
    tests = [test for test in counts if test.startswith("test_")]
    repeated = [f"{name}: {test} occurs twice" for test in tests if counts[test] > 1]
    return repeated + [f"{name}: {test}" for test in tests if re.match(r"test_(a|an|the)_", test)]


def long_functions(name: str, text: str, tree: ast.Module) -> Iterator[str]:
    """Yield a line for each function that is too long and has no reason above it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            if lines > FUNCTION_LINES and not _has_reason("long", text, first):
                yield f"{name}:{node.lineno}: {node.name} has {lines} lines"


def wide_calls(name: str, text: str, tree: ast.Module) -> Iterator[str]:
    """Yield a line for each call with too many positional arguments and no reason above it."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or len(node.args) <= POSITIONAL_ARGUMENTS:
            continue
        if not _has_reason("positional", text, node.lineno):
            yield f"{name}:{node.lineno}: {len(node.args)} positional arguments"


@cache
def _lines(text: str) -> list[str]:
    return text.splitlines()


def _has_reason(word: str, text: str, line: int) -> bool:
    above = _lines(text)[line - 2] if line > 1 else ""
    return re.fullmatch(rf"\s*# {word}: \w.*", above) is not None
