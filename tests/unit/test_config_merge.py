"""Flattening trees into leaves, and merging layers of leaves."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from config.errors import Origin
from config.merge import Empty, Path, Setting, Value, effective, flatten, key_text, unflatten

FILE = Origin("file", "appsettings.json", 1)

SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
TREES: st.SearchStrategy[Any] = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4), max_leaves=25
)


@given(TREES)
def test_flatten_and_unflatten_any_json_tree_returns_it(tree: Any) -> None:
    assert unflatten(flatten(tree)) == tree


@given(TREES)
def test_flatten_gives_each_leaf_its_own_path(tree: Any) -> None:
    paths = [path for path, _ in flatten(tree)]
    assert len(paths) == len(set(paths))


def test_flatten_keeps_an_empty_container_as_a_leaf() -> None:
    assert list(flatten({"a": [], "b": {}})) == [(("a",), Empty.LIST), (("b",), Empty.OBJECT)]


def _layer(*leaves: tuple[Path, Value]) -> list[Setting]:
    return [Setting(path, value, FILE) for path, value in leaves]


def _come_to(*layers: list[Setting]) -> dict[str, Value]:
    return {key_text(setting.path): setting.value for setting in effective(layers)}


def test_effective_takes_each_leaf_of_the_last_layer() -> None:
    base = _layer((("Hub", "Path"), "a"), (("Hub", "Url"), "b"))
    assert _come_to(base, _layer((("Hub", "Url"), "c"))) == {"Hub:Path": "a", "Hub:Url": "c"}


def test_effective_keeps_the_first_spelling_of_a_key() -> None:
    base = _layer((("Execution", "send_mail"), "async"))
    assert _come_to(base, _layer((("Execution", "SEND_MAIL"), "thread"))) == {"Execution:send_mail": "thread"}


def test_effective_null_removes_the_leaf_of_earlier_layers() -> None:
    assert _come_to(_layer((("A",), "1")), _layer((("A",), None))) == {}


def test_effective_later_layer_sets_a_leaf_that_null_removed() -> None:
    assert _come_to(_layer((("A",), None)), _layer((("A",), "1"))) == {"A": "1"}


def test_effective_merges_lists_by_index() -> None:
    base = _layer((("L", 0), "a"), (("L", 1), "b"))
    assert _come_to(base, _layer((("L", 0), "c"))) == {"L:0": "c", "L:1": "b"}


def test_effective_null_element_is_removed_without_a_gap() -> None:
    base = _layer((("L", 0), "a"), (("L", 1), "b"), (("L", 2), "c"))
    assert _come_to(base, _layer((("L", 1), None))) == {"L:0": "a", "L:1": "c"}


def test_effective_renumbers_lists_at_every_depth() -> None:
    layer = _layer((("L", 7, "Name"), "x"), (("L", 7, "Scopes", 3), "read"), (("L", 2, "Name"), "y"))
    assert _come_to(layer) == {"L:1:Name": "x", "L:1:Scopes:0": "read", "L:0:Name": "y"}


def test_effective_empty_list_is_kept_only_if_no_layer_fills_it() -> None:
    empty = _layer((("L",), Empty.LIST))
    assert _come_to(empty) == {"L": Empty.LIST}
    assert _come_to(_layer((("L", 0), "a")), empty) == {"L:0": "a"}
    assert _come_to(_layer((("L", 0), None)), empty) == {"L": Empty.LIST}
