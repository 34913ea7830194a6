"""The thread that writes in batches: what shares a batch, what is overtaken, and how it ends."""

import asyncio
import threading
from collections.abc import Callable, Sequence

import pytest

from worker.disk import group_commit
from worker.disk.group_commit import GroupCommit


class Recorder:
    """A BatchWriter that records its batches and can be held at the first."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.answered: list[str] = []
        self.writing = threading.Event()
        self.go_on = threading.Event()
        self.closed = False
        self.error: Exception | None = None

    def open(self) -> None:
        if self.error is not None:
            raise self.error

    def write(self, batch: Sequence[str]) -> Callable[[], None]:
        self.writing.set()
        assert self.go_on.wait(30)
        self.batches.append(list(batch))
        return lambda: self.answered.extend(batch)

    def tidy(self) -> None:
        pass

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


async def busy(recorder: Recorder, most: int = 10) -> "GroupCommit[str]":
    """A started thread that is held while it writes its first batch."""
    thread = GroupCommit("test-writer", recorder, most)
    await thread.start()
    thread.put("first")
    assert await asyncio.to_thread(recorder.writing.wait, 30)
    return thread


async def test_items_put_while_a_batch_is_written_share_the_next(recorder: Recorder) -> None:
    thread = await busy(recorder)
    for item in "abc":
        thread.put(item)
    recorder.go_on.set()
    await thread.close()
    assert recorder.batches == [["first"], ["a", "b", "c"]]
    assert recorder.answered == ["first", "a", "b", "c"]
    assert recorder.closed


async def test_batch_ends_when_its_weight_is_reached(recorder: Recorder) -> None:
    thread = await busy(recorder, most=3)
    for item in "abcd":
        thread.put(item, weight=2)
    recorder.go_on.set()
    await thread.close()
    assert recorder.batches == [["first"], ["a", "b"], ["c", "d"]]


async def test_idle_items_are_overtaken_and_get_batches_of_their_own(
    recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(group_commit, "IDLE_SECONDS", 60.0)  # none is overdue, however long a busy machine takes
    thread = await busy(recorder)
    thread.put("idle 1", urgency="idle")
    thread.put("a")
    thread.put("idle 2", urgency="idle")
    thread.put("b", urgency="soon")
    recorder.go_on.set()
    await thread.close()
    assert recorder.batches == [["first"], ["a", "b"], ["idle 1"], ["idle 2"]]


async def test_overdue_idle_item_is_not_overtaken_again(recorder: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(group_commit, "IDLE_SECONDS", 0.0)
    thread = await busy(recorder, most=1)
    for item in ("idle", "a", "b", "c"):
        thread.put(item, urgency="idle" if item == "idle" else "now")
    recorder.go_on.set()
    await thread.close()
    assert recorder.batches == [["first"], ["idle"], ["a"], ["b"], ["c"]]


async def test_start_raises_what_open_raised_and_close_then_returns(recorder: Recorder) -> None:
    recorder.error = OSError("no disk")
    thread = GroupCommit("test-writer", recorder, 10)
    with pytest.raises(OSError, match="no disk"):
        await thread.start()
    await thread.close()
    assert not recorder.closed
