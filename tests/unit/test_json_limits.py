"""The scanner counts what the parser would make, wherever the pieces of a document are cut."""

import random

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.net.json_limits import JsonLimits, JsonScanner, JsonTooDeep, JsonTooLarge, is_deeper_than

LIMITS = JsonLimits(values=20, names=5, depth=6)
VALUES = st.recursive(
    st.none() | st.integers(-9, 9) | st.text('ab"\\[]{},:ก\n', max_size=6),
    lambda inner: st.lists(inner, max_size=7) | st.dictionaries(st.text('ab"\\{,:ก', max_size=4), inner, max_size=7),
    max_leaves=30,
)


def depth_of(value: object) -> int:
    if isinstance(value, dict):
        return 1 + max(map(depth_of, value.values()), default=0)
    return 1 + max(map(depth_of, value), default=0) if isinstance(value, list) else 0


def names_of(value: object) -> int:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return max([len(value) if isinstance(value, dict) else 0, *map(names_of, inner)])


def count_of(value: object) -> int:
    """Containers, and the commas between what they contain."""
    if not isinstance(value, dict | list):
        return 0
    inner = value.values() if isinstance(value, dict) else value
    return 1 + max(0, len(value) - 1) + sum(map(count_of, inner))


def feed(data: bytes, *, piece: int, limits: JsonLimits = LIMITS) -> None:
    scanner = JsonScanner(limits)
    for start in range(0, len(data), piece):
        scanner.feed(data[start : start + piece])


@given(value=VALUES, piece=st.integers(1, 9) | st.just(1000), indent=st.booleans())
def test_scan_rejects_exactly_what_is_beyond_the_limits(value: object, piece: int, indent: bool) -> None:
    data = orjson.dumps(value, option=orjson.OPT_INDENT_2 if indent else 0)
    wrong = depth_of(value) > 6, names_of(value) > 5 or count_of(value) > 20
    try:
        feed(data, piece=piece)
    except JsonTooDeep:
        assert wrong[0]
    except JsonTooLarge:
        assert wrong[1]
    else:
        assert wrong == (False, False)


@pytest.mark.parametrize("unit", [b"{},", b"[],", b"1,", b'"a",', b'{"a":1},', b"[[[[", b",,,,", b'"\\"",'])
def test_scan_stops_at_the_limit_whatever_the_values_are(unit: bytes) -> None:
    data = b"[" + unit * 400_000
    with pytest.raises((JsonTooLarge, JsonTooDeep)):
        feed(data, piece=1 << 16, limits=JsonLimits())


@pytest.mark.parametrize("content", [b",[{:" * 500_000, b'\\",\\\\' * 400_000])
def test_scan_counts_nothing_inside_a_string(content: bytes) -> None:
    feed(b'{"text":"' + content + b'"}', piece=1 << 16, limits=JsonLimits())


@given(data=st.text('[]{},:"1', max_size=60).map(str.encode), piece=st.integers(1, 60))
def test_scan_at_once_counts_as_much_as_a_scan_one_by_one(data: bytes, piece: int) -> None:
    scanner, each = JsonScanner(LIMITS), OneByOne(LIMITS)
    for start in range(0, len(data), piece):
        ended = [_fed(one, data[start : start + piece]) for one in (scanner, each)]
        assert ended[0] == ended[1]
        if ended[0] is not None:
            return
        assert (scanner._values, scanner._names) == (each._values, each._names)


class OneByOne(JsonScanner):
    def _feed_at_once(self, structure: bytes) -> bool:
        return False


def _fed(scanner: JsonScanner, piece: bytes) -> type[Exception] | None:
    try:
        scanner.feed(piece)
    except (JsonTooDeep, JsonTooLarge) as exc:
        return type(exc)
    return None


@given(data=st.binary(max_size=200), seed=st.integers(0, 9))
def test_scan_of_anything_ends_the_same_way_in_any_pieces(data: bytes, seed: int) -> None:
    def ended(piece: int) -> str:
        try:
            feed(data, piece=piece)
        except (JsonTooDeep, JsonTooLarge) as exc:
            return type(exc).__name__
        return "ok"

    assert ended(len(data) or 1) == ended(random.Random(seed).randint(1, 7))


@given(value=VALUES, levels=st.integers(1, 5), indent=st.booleans())
def test_is_deeper_than_is_exact_for_every_document(value: object, levels: int, indent: bool) -> None:
    data = orjson.dumps(value, option=orjson.OPT_INDENT_2 if indent else 0)
    assert is_deeper_than(data, levels) == (depth_of(value) > levels)


@pytest.mark.parametrize("unit", ['\\"', '"\\', '[],\\"', '"[{\\\\"', "[", "{[", "]", '"",', "x", "\\"])
def test_is_deeper_than_ends_for_a_document_that_never_does(unit: str) -> None:
    """A search that begins again at every quote would take hours for a megabyte of them."""
    is_deeper_than(b"[" * 40 + b'"' + unit.encode() * (1_000_000 // len(unit)), 32)
