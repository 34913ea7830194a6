"""What the warden keeps of an output, and how it takes the progress out of it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.warden import Kept, Progress, without_broken_start


def kept(data: bytes, most: int, *, step: int = 7, encoding: str = "utf-8") -> tuple[str, bool]:
    output = Kept(most)
    for start in range(0, len(data), step):
        output.add(data[start : start + step])
    return output.text(encoding)


def test_what_fits_is_kept_as_it_is() -> None:
    assert kept("สวัสดี\n".encode(), 1000) == ("สวัสดี\n", True)
    assert kept(b"x" * 1000, 1000) == ("x" * 1000, True)
    assert kept(b"", 1000) == ("", True)


def test_of_what_does_not_fit_both_ends_are_kept_and_the_rest_is_counted() -> None:
    text, whole = kept(b"a" * 600 + b"b" * 600, 1000)
    assert not whole
    assert text == "a" * 500 + "\n… 200 bytes left out …\n" + "b" * 500


@given(st.text(alphabet="กำแี่น้ๆx\n", max_size=400), st.integers(8, 64), st.integers(1, 50))
def test_letters_are_whole_at_both_cuts(text: str, most: int, step: int) -> None:
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
    assert not first or without_broken_start(following) == following
    assert without_broken_start(last) == last


def test_what_is_no_utf_8_is_replaced_and_a_code_page_is_read() -> None:
    assert kept(b"a\xffb", 1000) == ("a\ufffdb", True)
    assert kept("สวัสดี".encode("cp874"), 1000, encoding="cp874") == ("สวัสดี", True)


def test_an_endless_output_takes_no_more_room() -> None:
    output = Kept(1000)
    for _ in range(100):
        output.add(b"x" * 100_000)
    assert len(output._head) + len(output._tail) < 1_000_000


def steps(data: bytes, step: int) -> tuple[bytes, list[tuple[float, str]]]:
    told: list[tuple[float, str]] = []
    progress = Progress(lambda percent, note: told.append((percent, note)))
    passed = b"".join(progress.feed(data[at : at + step]) for at in range(0, len(data), step)) + progress.rest()
    return passed, told


@pytest.mark.parametrize("step", [1, 3, 10, 1000])
def test_progress_is_taken_out_however_the_pieces_fall(step: int) -> None:
    data = "one\n::progress 40 ครึ่งทาง แล้ว\ntwo ::progress 50\n::progress 62.5%\r\n::progress x\n::progress 100".encode()
    passed, told = steps(data, step)
    assert passed == b"one\ntwo ::progress 50\n::progress x\n"
    assert told == [(40.0, "ครึ่งทาง แล้ว"), (62.5, ""), (100.0, "")]


@given(st.binary(max_size=300), st.integers(1, 20))
def test_everything_else_passes_unchanged(data: bytes, step: int) -> None:
    data = data.replace(b"::progress", b"")
    assert steps(data, step) == (data, [])


def test_a_line_without_end_is_not_held_back_for_ever() -> None:
    progress = Progress(lambda _percent, _note: None)
    assert len(progress.feed(b"::progress 1 " + b"x" * 10_000)) > 10_000


def test_more_than_all_is_all_and_a_note_is_short() -> None:
    _, told = steps(b"::progress 900 " + "ก".encode() * 300 + b"\n", 100)
    assert told == [(100.0, "ก" * 200)]
