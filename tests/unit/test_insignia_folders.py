"""Where results lie, and which of them go."""

from pathlib import Path

import pytest

from worker.insignia import JobFolder, RoundConfirmed
from worker.insignia.folders import segment

OLD, OUR, NEW = (f"0199a1b{number}-0000-7000-8000-000000000001" for number in (1, 2, 3))


def folder_of(root: Path, job_id: str = OUR, attempt: int = 1, owner: str = "bma", round_be: int = 2569) -> JobFolder:
    return JobFolder.of(root, owner=owner, round_be=round_be, job_id=job_id, attempt=attempt)


def written(folder: JobFolder) -> JobFolder:
    folder.attempt.mkdir(parents=True)
    (folder.attempt / "results.json").write_text("[]")
    return folder


@pytest.mark.parametrize("text", ["bma", "4064c2b2-0414-464a-97c6-4a47c325b9a3", "สำนักอนามัย กทม", "a.b@c-d_e"])
def test_a_harmless_name_stays_as_it_is(text: str) -> None:
    assert segment(text) == text


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
def test_any_other_name_becomes_one_safe_segment(tmp_path: Path, text: str) -> None:
    name = segment(text)
    assert name not in {"", ".", ".."}
    assert not name.startswith(".")
    assert not set(name) & set("/\\\0\n:*?")
    (tmp_path / name).mkdir()
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_two_names_never_share_a_segment() -> None:
    texts = ["a/b", "a_b", "a\\b", "a:b", "CON", "_CON", "x" * 100, "x" * 101, "e\u0301", "é", segment("a/b"), "", "_"]
    assert len({segment(text) for text in texts}) == len(texts)


def test_the_folder_of_an_attempt(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, attempt=3, owner="สำนักคลัง")
    assert folder.attempt == tmp_path / "สำนักคลัง" / "2569" / OUR / "attempt-3"
    assert folder.told(folder.attempt) == f"สำนักคลัง/2569/{OUR}/attempt-3"


def test_a_run_started_again_by_hand_does_not_meet_its_former_self(tmp_path: Path) -> None:
    first = written(folder_of(tmp_path))
    again = written(folder_of(tmp_path))
    assert again.attempt != first.attempt
    again.remove_superseded()
    assert [path.name for path in again.job.iterdir()] == ["attempt-1.2"]


def test_older_jobs_and_earlier_attempts_of_the_round_go(tmp_path: Path) -> None:
    older, earlier = written(folder_of(tmp_path, OLD)), written(folder_of(tmp_path, attempt=1))
    (older.job / ".attempt-1.1a2b3c4d").mkdir()
    ours = written(folder_of(tmp_path, attempt=2))
    ours.remove_superseded()
    assert not older.job.exists()
    assert not earlier.attempt.exists()
    assert (ours.attempt / "results.json").exists()


def test_newer_jobs_other_rounds_other_owners_and_what_people_put_there_stay(tmp_path: Path) -> None:
    others = [
        written(folder_of(tmp_path, NEW)),
        written(folder_of(tmp_path, OLD, round_be=2568)),
        written(folder_of(tmp_path, OLD, owner="other")),
    ]
    ours = written(folder_of(tmp_path))
    (ours.round_folder / "printed").mkdir()
    (ours.round_folder / "printed" / "list.pdf").write_text("x")
    (ours.round_folder / "note.txt").write_text("x")
    (ours.round_folder / "link").symlink_to(others[1].job)
    ours.remove_superseded()
    assert all(other.attempt.exists() for other in others)
    assert (ours.round_folder / "printed" / "list.pdf").exists()
    assert {path.name for path in ours.round_folder.iterdir()} == {OUR, NEW, "printed", "note.txt", "link"}


def test_a_confirmed_round_is_closed(tmp_path: Path) -> None:
    folder = folder_of(tmp_path)
    folder.refuse_if_confirmed()
    written(folder)
    (folder.round_folder / "CONFIRMED").touch()
    with pytest.raises(RoundConfirmed, match="bma/2569/CONFIRMED") as caught:
        folder_of(tmp_path, NEW).refuse_if_confirmed()
    assert str(tmp_path) not in str(caught.value)
