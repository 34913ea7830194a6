"""Interop tests without Node: skipped at home, a failure in CI."""

import pytest

from tests.support.js import node_or_skip


def test_without_node_a_test_is_skipped_and_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="node is needed: install Node 20"):
        node_or_skip()


def test_without_node_ci_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="node is needed: install Node 20"):
        node_or_skip()
