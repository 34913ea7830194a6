"""Which times `enqueue --run-at` accepts before it looks for a service."""

import pytest
import typer

from worker.cli.commands.enqueue import _require_time


@pytest.mark.parametrize("text", ["2026-12-05T08:00:00z", "2026-12-05T08:00:00Z", "2026-12-05t08:00:00.5+07:00"])
def test_time_with_an_offset_is_accepted(text: str) -> None:
    _require_time(text)


@pytest.mark.parametrize("text", ["", "z", "2026-12-05T08:00:00", "2026-12-05", "tomorrow"])
def test_time_without_an_offset_is_refused(text: str) -> None:
    with pytest.raises(typer.BadParameter, match="with its offset"):
        _require_time(text)
