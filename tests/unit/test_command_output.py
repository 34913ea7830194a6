"""How much of a program's output is kept, and how progress reports are taken out of it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.handlers.command.output import OutputCapture, ProgressFilter, drop_orphaned_marks


def kept(data: bytes, most: int, *, step: int = 7, encoding: str = "utf-8") -> tuple[str, bool]:
    output = OutputCapture(most)
    for start in range(0, len(data), step):
        output.add(data[start : start + step])
    return output.text(encoding)


def test_output_within_the_limit_is_kept_unchanged() -> None:
    assert kept("สวัสดี\n".encode(), 1000) == ("สวัสดี\n", True)
    assert kept(b"x" * 1000, 1000) == ("x" * 1000, True)
    assert kept(b"", 1000) == ("", True)


def test_output_over_the_limit_keeps_both_ends_and_counts_the_rest() -> None:
    text, whole = kept(b"a" * 600 + b"b" * 600, 1000)
    assert not whole
    assert text == "a" * 500 + "\n… 200 bytes left out …\n" + "b" * 500


@given(st.text(alphabet="กำแี่น้ๆx\n", max_size=400), st.integers(8, 64), st.integers(1, 50))
def test_output_is_cut_between_letters(text: str, most: int, step: int) -> None:
    data = text.encode()
    result, whole = kept(data, 2 * most, step=step)
    if whole:
        assert result == text
        return
    first, _, last = result.partition("\n… ")
    last = last.partition(" …\n")[2]
    assert text.startswith(first)
    assert text.endswith(last)
    assert len(first.encode()) <= most
    assert len(last.encode()) <= most
    following = text[len(first)]
    assert not first or drop_orphaned_marks(following) == following
    assert drop_orphaned_marks(last) == last


def test_output_with_invalid_utf_8_gets_replacement_characters_and_code_pages_are_decoded() -> None:
    assert kept(b"a\xffb", 1000) == ("a\ufffdb", True)
    assert kept("สวัสดี".encode("cp874"), 1000, encoding="cp874") == ("สวัสดี", True)


def test_output_without_end_uses_bounded_memory() -> None:
    output = OutputCapture(1000)
    for _ in range(100):
        output.add(b"x" * 100_000)
    assert len(output._head) + len(output._tail) < 1_000_000


def steps(data: bytes, step: int) -> tuple[bytes, list[tuple[float, str]]]:
    reported: list[tuple[float, str]] = []
    progress = ProgressFilter(lambda percent, note: reported.append((percent, note)))
    passed = b"".join(progress.feed(data[at : at + step]) for at in range(0, len(data), step)) + progress.finish()
    return passed, reported


@pytest.mark.parametrize("step", [1, 3, 10, 1000])
def test_progress_lines_are_removed_wherever_the_pieces_are_split(step: int) -> None:
    data = "one\n::progress 40 ครึ่งทาง แล้ว\ntwo ::progress 50\n::progress 62.5%\r\n::progress x\n::progress 100".encode()
    passed, reported = steps(data, step)
    assert passed == b"one\ntwo ::progress 50\n::progress x\n"
    assert reported == [(40.0, "ครึ่งทาง แล้ว"), (62.5, ""), (100.0, "")]


@given(st.binary(max_size=300), st.integers(1, 20))
def test_output_without_progress_passes_unchanged(data: bytes, step: int) -> None:
    data = data.replace(b"::progress", b"")
    assert steps(data, step) == (data, [])


def test_long_line_that_begins_like_progress_is_not_held_back() -> None:
    progress = ProgressFilter(lambda _percent, _note: None)
    assert len(progress.feed(b"::progress 1 " + b"x" * 10_000)) > 10_000


@pytest.mark.parametrize("whole", [b"x" * 10_000 + b"\n", b" " * 3_000_000 + b"\0\n", b"a " * 1_500_000 + b"b\n"])
def test_long_line_that_begins_like_progress_is_output_also_in_one_piece(whole: bytes) -> None:
    assert steps(b"::progress 1 " + whole, len(whole) + 20) == (b"::progress 1 " + whole, [])


def test_progress_is_capped_at_100_percent_and_its_note_at_200_characters() -> None:
    _, reported = steps(b"::progress 900 " + "ก".encode() * 300 + b"\n", 100)
    assert reported == [(100.0, "ก" * 200)]
