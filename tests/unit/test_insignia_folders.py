"""The folders of results, and which of them are removed."""

import resource
from pathlib import Path

import pytest

from worker.insignia import JobFolder, ResultsUnwritable, RoundConfirmed
from worker.insignia.results.folders import safe_folder_name
from worker.insignia.results.replaced import Replacement, remove_expired, replacement_of

OLD, OUR, NEW = (f"0199a1b{number}-0000-7000-8000-000000000001" for number in (1, 2, 3))


KEEP = 86400.0


def folder_of(
    root: Path, job_id: str = OUR, attempt: int = 1, owner: str | None = "bma", round_be: int = 2569, user: str = "u"
) -> JobFolder:
    return JobFolder.of(root, user=user, organization=owner, round_be=round_be, job_id=job_id, attempt=attempt)


def written(folder: JobFolder) -> JobFolder:
    folder.attempt.mkdir(parents=True)
    (folder.attempt / "results.json").write_text("[]")
    folder.record_owner()
    return folder


def test_record_owner_on_a_full_disk_leaves_no_draft(tmp_path: Path) -> None:
    folder = written(folder_of(tmp_path))
    before = sorted(path.name for path in folder.job.iterdir())
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))  # each write fails, like one to a full disk
    try:
        with pytest.raises(ResultsUnwritable):
            folder.record_owner()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert sorted(path.name for path in folder.job.iterdir()) == before


def test_record_owner_that_cannot_be_written_is_a_failure_that_is_retried(tmp_path: Path) -> None:
    folder = folder_of(tmp_path)
    folder.job.parent.mkdir(parents=True)
    folder.job.write_text("in the way")
    with pytest.raises(ResultsUnwritable, match="cannot be written"):
        folder.record_owner()


@pytest.mark.parametrize("text", ["bma", "4064c2b2-0414-464a-97c6-4a47c325b9a3", "สำนักอนามัย กทม", "a.b@c-d_e"])
def test_safe_folder_name_keeps_a_safe_name(text: str) -> None:
    assert safe_folder_name(text) == text


@pytest.mark.parametrize(
    "text",
    [
        *("..", ".", "", " ", "a/b", "a\\b", "../../etc/passwd", "/abs", "a\0b", "a\nb", "~root;rm", ".hidden", "a "),
        *(
            "CON",
            "nul",
            "com1.txt",
            "CONFIRMED",
            "confirmed",
            "ก" * 300,
            "😀" * 100,
            "e\u0301",
            "x" * 500,
            "a:b",
            "a*?",
        ),
    ],
)
def test_safe_folder_name_changes_any_other_name(tmp_path: Path, text: str) -> None:
    name = safe_folder_name(text)
    assert name not in {"", ".", ".."}
    assert not name.startswith(".")
    assert not set(name) & set("/\\\0\n:*?")
    (tmp_path / name).mkdir()
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_safe_folder_name_is_unique_for_each_name() -> None:
    texts = [
        "a/b",
        "a_b",
        "a\\b",
        "a:b",
        "CON",
        "_CON",
        "x" * 100,
        "x" * 101,
        "e\u0301",
        "é",
        safe_folder_name("a/b"),
        "",
        "_",
    ]
    assert len({safe_folder_name(text) for text in texts}) == len(texts)


def test_job_folder_contains_owner_round_job_and_attempt(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, attempt=3, owner="สำนักคลัง")
    assert folder.attempt == tmp_path / "organization" / "สำนักคลัง" / "2569" / OUR / "attempt-3"
    assert folder.shown_path(folder.attempt) == f"organization/สำนักคลัง/2569/{OUR}/attempt-3"
    alone = JobFolder.of(tmp_path, user="สำนักคลัง", round_be=2569, job_id=OUR, attempt=1)
    assert alone.attempt == tmp_path / "user" / "สำนักคลัง" / "2569" / OUR / "attempt-1"


def test_job_folder_of_a_retried_run_is_new(tmp_path: Path) -> None:
    first = written(folder_of(tmp_path))
    again = written(folder_of(tmp_path))
    assert again.attempt != first.attempt
    again.replace_older(KEEP, 0.0)
    assert [path.name for path in again.job.iterdir() if path.is_dir()] == ["attempt-1.2"]


def test_older_jobs_of_the_same_owner_are_kept_as_replaced_for_the_set_time(tmp_path: Path) -> None:
    older, earlier = written(folder_of(tmp_path, OLD)), written(folder_of(tmp_path, attempt=1))
    (older.job / ".attempt-1.1a2b3c4d").mkdir()
    ours = written(folder_of(tmp_path, attempt=2))
    assert ours.older_jobs() == [OLD]
    assert JobFolder.written(tmp_path, ours.attempt).replace_older(KEEP, 1000.0) == [OLD]
    assert (older.attempt / "results.json").exists()
    assert replacement_of(older.job) == Replacement(OUR, 1000.0)
    assert not earlier.attempt.exists()
    assert (ours.attempt / "results.json").exists()
    assert ours.older_jobs() == ours.replace_older(KEEP, 2000.0) == []
    assert remove_expired(tmp_path, KEEP, 1000.0 + KEEP - 1) == 0
    assert remove_expired(tmp_path, KEEP, 1000.0 + KEEP) == 1
    assert not older.job.exists()
    assert ours.attempt.exists()


def test_older_jobs_are_deleted_at_once_if_nothing_is_kept(tmp_path: Path) -> None:
    older, ours = written(folder_of(tmp_path, OLD)), written(folder_of(tmp_path))
    assert ours.replace_older(0.0, 1000.0) == [OLD]
    assert not older.job.exists()


def test_newer_jobs_other_rounds_other_owners_and_other_files_are_not_replaced(tmp_path: Path) -> None:
    others = [
        written(folder_of(tmp_path, NEW)),
        written(folder_of(tmp_path, OLD, round_be=2568)),
        written(folder_of(tmp_path, OLD, owner="other")),
        written(folder_of(tmp_path, OLD, user="another user of the organization")),
        written(folder_of(tmp_path, OLD, owner=None)),
    ]
    ours = written(folder_of(tmp_path))
    (ours.round_folder / "printed").mkdir()
    (ours.round_folder / "printed" / "list.pdf").write_text("x")
    (ours.round_folder / "note.txt").write_text("x")
    (ours.round_folder / "link").symlink_to(others[1].job)
    assert ours.replace_older(0.0, 1000.0) == []
    assert all(other.attempt.exists() for other in others)
    assert (ours.round_folder / "printed" / "list.pdf").exists()
    assert remove_expired(tmp_path, 0.0, 1e12) == 0


@pytest.mark.parametrize("marker", [None, b"", b"[]", b"{", b'{"user": 7}', b"x" * 9000])
def test_results_of_an_unknown_owner_are_not_replaced(tmp_path: Path, marker: bytes | None) -> None:
    older, ours = written(folder_of(tmp_path, OLD)), written(folder_of(tmp_path))
    if marker is None:
        (older.job / ".owner.json").unlink()
    else:
        (older.job / ".owner.json").write_bytes(marker)
    assert ours.replace_older(0.0, 1000.0) == []
    assert older.attempt.exists()


def test_results_of_a_job_that_ran_again_are_no_longer_replaced(tmp_path: Path) -> None:
    older, ours = written(folder_of(tmp_path, OLD)), written(folder_of(tmp_path))
    ours.replace_older(KEEP, 1000.0)
    written(folder_of(tmp_path, OLD))
    assert replacement_of(older.job) is None


def test_replaced_results_behind_a_link_are_not_deleted(tmp_path: Path) -> None:
    root, elsewhere = tmp_path / "results", tmp_path / "elsewhere"
    older, ours = written(folder_of(elsewhere, OLD)), written(folder_of(elsewhere))
    ours.replace_older(KEEP, 1000.0)
    root.mkdir()
    (root / "organization").symlink_to(elsewhere / "organization")
    assert remove_expired(root, KEEP, 1e12) == 0
    assert older.attempt.exists()


def test_confirmed_round_is_rejected(tmp_path: Path) -> None:
    folder = folder_of(tmp_path)
    folder.reject_if_confirmed()
    written(folder)
    (folder.round_folder / "CONFIRMED").touch()
    with pytest.raises(RoundConfirmed, match="organization/bma/2569/CONFIRMED") as caught:
        folder_of(tmp_path, NEW).reject_if_confirmed()
    assert str(tmp_path) not in str(caught.value)


def test_round_confirmed_in_its_earlier_folder_is_rejected(tmp_path: Path) -> None:
    (tmp_path / "bma" / "2569").mkdir(parents=True)
    (tmp_path / "bma" / "2569" / "CONFIRMED").touch()
    with pytest.raises(RoundConfirmed, match="remove bma/2569/CONFIRMED"):
        folder_of(tmp_path).reject_if_confirmed()
    folder_of(tmp_path, owner="other").reject_if_confirmed()


def test_job_in_a_folder_that_owners_may_share_is_not_replaced(tmp_path: Path) -> None:
    older, ours = (tmp_path / "bob" / "2569" / job_id / "attempt-1" for job_id in (OLD, OUR))
    for attempt in (older, ours):
        attempt.mkdir(parents=True)
    assert JobFolder.written(tmp_path, ours).replace_older(0.0, 1000.0) == []
    assert older.exists()
