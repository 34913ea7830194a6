"""The garbage collector's thresholds during an evaluation, and after it."""

import gc

import pytest

from worker.insignia.collector import rare_collections


def test_rare_collections_restores_the_thresholds_after_the_last_of_several() -> None:
    before = gc.get_threshold()
    first, second = rare_collections(), rare_collections()
    first.__enter__()
    raised = gc.get_threshold()
    second.__enter__()
    first.__exit__(None, None, None)
    assert gc.get_threshold() == raised
    second.__exit__(None, None, None)
    assert raised > before == gc.get_threshold()


def test_rare_collections_restores_the_thresholds_after_an_error() -> None:
    before = gc.get_threshold()
    with pytest.raises(ValueError, match="x"), rare_collections():
        raise ValueError("x")
    assert gc.get_threshold() == before
