"""Reading JSON as .NET's configuration does."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.json_file import JsonFault, decode, read_leaves
from config.merge import Empty, unflatten


def _read(text: str) -> dict[str, Any]:
    tree: dict[str, Any] = unflatten((leaf.path, leaf.value) for leaf in read_leaves(text))
    return tree


def _fault(text: str) -> tuple[int, int, str]:
    with pytest.raises(JsonFault) as caught:
        read_leaves(text)
    return caught.value.line, caught.value.column, caught.value.reason


def _texts(tree: Any) -> Any:
    """Return the tree as .NET's provider gives it: scalars as text."""
    if isinstance(tree, dict):
        return {name: _texts(child) for name, child in tree.items()}
    if isinstance(tree, list):
        return [_texts(child) for child in tree]
    return tree if tree is None or isinstance(tree, str) else json.dumps(tree)


NAMES = st.text(alphabet=st.characters(exclude_characters=":", exclude_categories=["Cs"]))
SCALARS: st.SearchStrategy[Any] = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
)
SCALARS |= st.text(alphabet=st.characters(exclude_categories=["Cs"]))


def _objects(values: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    pairs = st.lists(st.tuples(NAMES, values), max_size=4, unique_by=lambda pair: pair[0].lower())
    return pairs.map(dict)


OBJECTS = _objects(st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=4) | _objects(inner), max_leaves=15))
NOISE = st.sampled_from(["", " ", "\n", "\r\n", "\t", '// a " { comment\n', '/* a , " } \n comment */', "/**/"])


@st.composite
def _written(draw: st.DrawFn) -> tuple[dict[str, Any], str]:
    """Draw a tree and one of the many ways to write it."""

    def noisy(*tokens: str) -> str:
        return "".join(f"{draw(NOISE)}{token}" for token in tokens)

    def listed(opening: str, parts: list[str], closing: str) -> str:
        has_comma: bool = draw(st.booleans())
        trailing = [","] if parts and has_comma else []
        return noisy(opening, ",".join(parts), *trailing, closing)

    def render(node: Any) -> str:
        if isinstance(node, dict):
            return listed("{", [noisy(json.dumps(name), ":", render(child)) for name, child in node.items()], "}")
        if isinstance(node, list):
            return listed("[", [render(child) for child in node], "]")
        return noisy(json.dumps(node, ensure_ascii=draw(st.booleans())))

    tree = draw(OBJECTS)
    return tree, noisy(render(tree), "")


@given(_written())
def test_read_any_object_with_comments_and_trailing_commas_returns_its_leaves(
    written: tuple[dict[str, Any], str],
) -> None:
    tree, text = written
    assert _read(text) == _texts(tree)


@given(st.text(alphabet='{}[]",:/*\\ \n-+.eE019ntrufalsx', max_size=60).map(lambda text: "{" + text))
def test_read_any_text_returns_leaves_or_a_fault_inside_the_text(text: str) -> None:
    fault = None
    try:
        assert read_leaves(text)
    except JsonFault as exc:
        fault = exc
    if fault is not None:
        lines = text.split("\n")
        assert 1 <= fault.line <= len(lines)
        assert 1 <= fault.column <= len(lines[fault.line - 1]) + 1


def test_read_skips_comments_and_trailing_commas() -> None:
    assert _read('{ // one\n "A": [1, 2,], /* two */ "B": "// no comment", }') == {
        "A": ["1", "2"],
        "B": "// no comment",
    }


def test_decode_skips_a_byte_order_mark() -> None:
    assert decode(b'\xef\xbb\xbf{"A": 1}') == '{"A": 1}'


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be"])
def test_decode_accepts_utf_16_as_powershell_writes_it(encoding: str) -> None:
    assert decode('{"A": "ก"}'.encode(encoding)) == '{"A": "ก"}'


def test_decode_of_invalid_utf_16_names_the_encoding() -> None:
    with pytest.raises(JsonFault, match="this is not UTF-16") as caught:
        decode('{\n "A": "'.encode("utf-16") + b"\x00\xd8" + b"\x00\x00")
    assert caught.value.line == 2


def test_decode_of_invalid_utf_8_names_line_and_column_of_the_first_bad_byte() -> None:
    with pytest.raises(JsonFault) as caught:
        decode('{\n "ก": "'.encode() + b"\xff")
    assert (caught.value.line, caught.value.column) == (2, 8)


def test_read_scalar_returns_its_text_as_written() -> None:
    assert _read('{"A": 5, "B": 1.50, "C": true, "D": -1e3, "E": null}') == {
        "A": "5",
        "B": "1.50",
        "C": "true",
        "D": "-1e3",
        "E": None,
    }


def test_read_name_with_a_colon_splits_it_into_segments() -> None:
    assert _read('{"WebSocket:Url": "x", "WebSocket": {"Path": "y"}}') == {"WebSocket": {"Url": "x", "Path": "y"}}


def test_read_leaf_has_its_line() -> None:
    leaves = read_leaves('{\n  "A": 1,\n  "B": [\n    2,\n    {}\n  ]\n}')
    assert [(leaf.path, leaf.line) for leaf in leaves] == [(("A",), 2), (("B", 0), 4), (("B", 1), 5)]


def test_read_empty_object_returns_one_empty_leaf() -> None:
    assert [(leaf.path, leaf.value) for leaf in read_leaves("{}")] == [((), Empty.OBJECT)]


@pytest.mark.parametrize(
    ("text", "line", "column"),
    [
        ('{"Url": 1,\n "URL": 2}', 2, 9),
        ('{"A": {"b": 1},\n "a:B": 2}', 2, 9),
        ('{"A": [1],\n "A:0": 2}', 2, 9),
    ],
)
def test_read_duplicate_key_in_any_case_is_a_fault(text: str, line: int, column: int) -> None:
    found = _fault(text)
    assert found[:2] == (line, column)
    assert found[2].endswith("is already given on line 1")


def test_read_section_in_two_parts_returns_the_leaves_of_both() -> None:
    assert _read('{"Hub": {"A": 1}, "Hub": {"B": 2}}') == {"Hub": {"A": "1", "B": "2"}}


@pytest.mark.parametrize(
    ("text", "line", "column", "reason"),
    [
        ("", 1, 1, "settings are a JSON object"),
        ("  \n [1]", 2, 2, "settings are a JSON object"),
        ("{", 1, 2, "expected a name"),
        ('{"A" 1}', 1, 6, "expected ':'"),
        ('{"A": 1 "B": 2}', 1, 9, "expected ',' or '}'"),
        ('{"A": [1 2]}', 1, 10, "expected ',' or ']'"),
        ('{"A": 1,, "B": 2}', 1, 9, "expected a name"),
        ("{,}", 1, 2, "expected a name"),
        ("{'A': 1}", 1, 2, "expected a name in double quotes"),
        ('{"A": }', 1, 7, "expected a value"),
        ('{"A": 01}', 1, 7, "expected a value"),
        ('{"A": +1}', 1, 7, "expected a value"),
        ('{"A": NaN}', 1, 7, "expected a value"),
        ('{"A": True}', 1, 7, "expected a value"),
        ('{"A": nullx}', 1, 7, "expected a value"),
        ('{"A": "x', 1, 7, "unterminated string"),
        ('{"A": "x\ny"}', 1, 9, "invalid control character"),
        ('{"A": "\\q"}', 1, 8, "invalid \\escape"),
        ('{"A": 1} x', 1, 10, "nothing may follow"),
        ('{"A": 1\n /* never', 2, 2, "this comment is never closed"),
        ('{"A": 1 / 2}', 1, 9, "expected ',' or '}'"),
    ],
)
def test_read_bad_syntax_reports_line_and_column(text: str, line: int, column: int, reason: str) -> None:
    found = _fault(text)
    assert found[:2] == (line, column)
    assert found[2].startswith(reason)


def test_read_too_deep_nesting_is_a_fault() -> None:
    assert _fault('{"A":' + "[" * 100_000)[2] == "nested deeper than 64"
