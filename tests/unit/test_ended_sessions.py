"""Sessions that were logged out stay ended: after a restart, a torn line, and however many there are."""

import errno
import os
from pathlib import Path

import pytest

from tests.support.stores import ManualClock
from worker.api.auth.ended_sessions import SESSION_SECONDS, EndedSessions
from worker.errors import StoreUnwritable

ANN, BOB = "a" * 32, "b" * 32


@pytest.fixture
def manual_clock() -> ManualClock:
    return ManualClock()


def later(manual_clock: ManualClock) -> float:
    return manual_clock.wall + 1000


async def test_ended_session_is_ended_after_a_restart(tmp_path: Path, manual_clock: ManualClock) -> None:
    path = tmp_path / "ended"
    ended = EndedSessions(path, manual_clock.clock)
    await ended.add("one", ANN, later(manual_clock))
    await ended.add("two", ANN, later(manual_clock))
    again = EndedSessions(path, manual_clock.clock)
    assert [again.contains(name, ANN, later(manual_clock)) for name in ("one", "two", "three")] == [True, True, False]
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("tail", [b"S half", b"\x00\x00\x00", b"\xff\n", b"S x y z\n"])
async def test_damaged_end_of_the_file_loses_no_other_line(
    tmp_path: Path, manual_clock: ManualClock, tail: bytes
) -> None:
    path = tmp_path / "ended"
    await EndedSessions(path, manual_clock.clock).add("one", ANN, later(manual_clock))
    with path.open("ab") as file:
        file.write(tail)
    await EndedSessions(path, manual_clock.clock).add("two", ANN, later(manual_clock))
    again = EndedSessions(path, manual_clock.clock)
    assert all(again.contains(name, ANN, later(manual_clock)) for name in ("one", "two"))


@pytest.mark.parametrize("damaged", [b"S one", b"\x00\x00\n", b"\xff\n", b"S x y z\n", b"S one %s 17" % ANN.encode()])
async def test_damaged_line_ends_all_sessions_that_began_before(
    tmp_path: Path, manual_clock: ManualClock, damaged: bytes
) -> None:
    """Any of them may be the one that was logged out; the last line is complete with its line break only."""
    path = tmp_path / "ended"
    path.write_bytes(damaged)
    latest = int(manual_clock.wall) + SESSION_SECONDS - 1
    ended = EndedSessions(path, manual_clock.clock)
    assert "damaged lines (1)" in (ended.repair() or "")
    for these in (ended, EndedSessions(path, manual_clock.clock)):
        assert these.contains("any", BOB, latest)
        assert not these.contains("one that began afterwards", BOB, latest + 1)
    assert EndedSessions(path, manual_clock.clock).repair() is None


async def test_file_that_is_whole_is_not_repaired(tmp_path: Path, manual_clock: ManualClock) -> None:
    path = tmp_path / "ended"
    assert EndedSessions(path, manual_clock.clock).repair() is None
    await EndedSessions(path, manual_clock.clock).add("one", ANN, later(manual_clock))
    ended = EndedSessions(path, manual_clock.clock)
    assert ended.repair() is None
    assert not ended.contains("two", ANN, later(manual_clock))


async def test_damaged_file_that_cannot_be_written_is_reported(tmp_path: Path, manual_clock: ManualClock) -> None:
    path = tmp_path / "ended"
    path.write_bytes(b"damaged\n")
    (tmp_path / "ended.new").mkdir()
    assert "and again after the next start" in (EndedSessions(path, manual_clock.clock).repair() or "")


async def test_line_that_was_written_in_part_is_written_again(
    tmp_path: Path, manual_clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a full disk; followed by a line break, it would be a line with an earlier end."""

    def reject(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    path = tmp_path / "ended"
    ended = EndedSessions(path, manual_clock.clock)
    await ended.add("one", ANN, later(manual_clock))
    with monkeypatch.context() as full:
        full.setattr(os, "fsync", reject)
        with pytest.raises(StoreUnwritable):
            await ended.add("two", ANN, later(manual_clock))
    os.truncate(path, path.stat().st_size - 4)
    await ended.add("three", BOB, later(manual_clock))
    again = EndedSessions(path, manual_clock.clock)
    assert again.repair() is None
    assert all(again.contains(name, ANN, later(manual_clock)) for name in ("one", "two"))


async def test_many_ended_sessions_of_one_key_end_all_of_its_sessions_and_no_others(
    tmp_path: Path, manual_clock: ManualClock
) -> None:
    path = tmp_path / "ended"
    ended = EndedSessions(path, manual_clock.clock, limit=10)
    await ended.add("bobs", BOB, later(manual_clock))
    for number in range(50):
        await ended.add(f"ann-{number}", ANN, later(manual_clock))
    for these in (ended, EndedSessions(path, manual_clock.clock, limit=10)):
        assert all(these.contains(f"ann-{number}", ANN, later(manual_clock)) for number in range(50))
        assert these.contains("never logged out", ANN, later(manual_clock))
        assert these.contains("bobs", BOB, later(manual_clock))
        assert not these.contains("another of bob", BOB, later(manual_clock))
        assert not these.contains("a session of ann that began afterwards", ANN, later(manual_clock) + 1)


async def test_file_is_rewritten_when_most_of_it_has_expired(tmp_path: Path, manual_clock: ManualClock) -> None:
    path = tmp_path / "ended"
    ended = EndedSessions(path, manual_clock.clock, limit=10)
    for number in range(200):
        await ended.add(f"s-{number}", f"{number:x}", manual_clock.wall + 10)
        manual_clock.pass_time(5)
    assert len(path.read_text().split("\n")) < 80


async def test_file_that_cannot_be_written_is_reported_and_the_session_is_ended(
    tmp_path: Path, manual_clock: ManualClock
) -> None:
    ended = EndedSessions(tmp_path / "missing" / "ended", manual_clock.clock)
    with pytest.raises(StoreUnwritable, match="after a restart it would be valid again"):
        await ended.add("one", ANN, later(manual_clock))
    assert ended.contains("one", ANN, later(manual_clock))


async def test_file_that_cannot_be_read_is_named_with_what_to_do(tmp_path: Path, manual_clock: ManualClock) -> None:
    """Taking it for an empty one would make ended sessions valid again."""
    (tmp_path / "ended").mkdir()
    with pytest.raises(StoreUnwritable, match=r"cannot read .*ended: Is a directory; give this user the right"):
        EndedSessions(tmp_path / "ended", manual_clock.clock)
