"""Words that say that nothing is on file, and words that only seem to."""

from pathlib import Path

import pytest

from tests.unit.test_insignia_roster import GOOD, HEADER, one, read, write
from worker.insignia.roster.negations import is_in_office, says_nothing, without_denials


@pytest.mark.parametrize(
    "text",
    [
        "ไม่มี", "(ไม่มี)", "-ไม่มี-", "ไม่เคย", "ไม่ลา", "0 ครั้ง", "ไม่ปรากฏ", "ปกติ", "no penalty",
        "ไม่เคยถูกลงโทษทางวินัย", "ไม่ได้รับโทษ", "ไม่ถูกดำเนินคดี", "ไม่มีประวัติเสียหาย", "ไม่โดนลงโทษ", "ไม่มีมลทิน",
        "ไม่เคยถูกลงโทษทางวินัยหรืออาญา", "ไม่เคยถูกลงโทษทางวินัยและไม่เคยต้องโทษจำคุก", "ไม่มีโทษ / ไม่มีคดี",
        "ไม่อยู่ระหว่างลาศึกษาต่อ", "ไม่อยู่ในระหว่างการสอบสวน", "ไม่ได้อยู่ระหว่างลา", "ไม่พบข้อมูลการลงโทษ",
    ],
)  # fmt: skip
def test_says_nothing_understands(text: str) -> None:
    assert says_nothing(text)


@pytest.mark.parametrize(
    "text",
    [
        "", "ไม่ทราบ", "ไม่มีข้อมูล", "ไม่พบข้อมูล", "ไม่อยู่", "ไม่อยู่ในราชการ", "ไม่ได้อยู่ในราชการ", "ไม่ได้ปฏิบัติราชการ",
        "ไม่มี ภาคทัณฑ์", "ไม่มี/ภาคทัณฑ์", "วินัยไม่ร้ายแรง", "ไม่ร้ายแรง", "ไม่เคย แต่อยู่ระหว่างสอบสวน", "ลาศึกษาต่อ",
        "ไม่เคยถูกลงโทษ ถูกสอบสวน", "ไม่มีคดี อยู่ระหว่างสอบสวนวินัย", "ไม่มีโทษ มีคดีอาญา", "ไม่มีโทษและมีคดีอาญา", "ไม่มีโทษ ต้องจำคุก",
        "ไม่เคยถูกลงโทษ ระหว่างสอบสวนวินัย", "ไม่เคยถูกลงโทษ เคยถูกสอบสวน", "ไม่มีโทษทางวินัยร้ายแรง ถูกสอบสวน", "ไม่มีโทษ ลาศึกษาต่อ",
    ],
)  # fmt: skip
def test_says_nothing_leaves_other_words_to_a_reviewer(text: str) -> None:
    assert not says_nothing(text)


@pytest.mark.parametrize(
    "text",
    [
        "ไม่มีประวัติ", "ไม่มีประวัติการถูกลงโทษ", "ไม่มีประวัติ การลาศึกษาต่อ", "ไม่มีประวัติ ลาศึกษา", "ไม่มีโทษทางวินัยและอาญา",
        "ไม่เคยถูกลงโทษทางวินัยหรือต้องโทษจำคุก", "ไม่เคยถูกเรียกคืนเครื่องราชอิสริยาภรณ์", "ไม่มีการลาใดๆ",
        "ไม่เคยถูกตั้งกรรมการสอบสวนวินัยร้ายแรง",
    ],
)  # fmt: skip
def test_denial_reaches_the_matters_that_it_lists(text: str) -> None:
    assert says_nothing(text)


@pytest.mark.parametrize(
    "text",
    [
        "ไม่มีโทษ จำคุก", "ไม่มีโทษและลาศึกษาต่อ", "ไม่มีโทษลาศึกษาต่อ", "ไม่มีโทษใดๆ จำคุก", "ไม่มีโทษทางวินัย จำคุก", "ไม่มีโทษและจำคุก",
        "ไม่มีคดี สอบสวนวินัย", "ไม่มีคดีและสอบสวนวินัย", "ไม่มีโทษและผิดวินัยร้ายแรง", "ไม่มีโทษ ผิดวินัย", "ไม่มีโทษ คดีอาญา", "ไม่ลา จำคุก",
        "ไม่มีและลาศึกษาต่อ", "ไม่มี อยู่ระหว่างสอบสวน", "ไม่มี ลาศึกษาต่อ", "ไม่มี จำคุก", "ไม่เคย อยู่ระหว่างสอบสวน", "ไม่พบ ถูกลงโทษ",
        "ไม่เคยถูกลงโทษ และ ลาติดตามคู่สมรส", "ไม่มีโทษทางวินัย พักราชการ", "ไม่มีโทษ การลาศึกษาต่อ", "ไม่มีโทษ ไม่มีข้อมูล",
        "ไม่มีโทษ. จำคุก", "ไม่มีโทษ.จำคุก", "ไม่มี. จำคุก", "ไม่มี.ลาศึกษาต่อ", "ไม่เคยลา. ผิดวินัยร้ายแรง", "ไม่มีคดี ... สอบสวนวินัย",
        "ไม่เคยลาศึกษาต่อผิดวินัยร้ายแรง", "ไม่มีการลาผิดวินัย", "ไม่เคยลาป่วยคดีอาญา", "ไม่มีโทษหรือลากิจผิดวินัย",
        "ไม่เคยลาติดตามคู่สมรสใดๆกรณีวินัย",
    ],
)  # fmt: skip
def test_denial_does_not_reach_another_matter_that_may_have_happened(text: str) -> None:
    assert not says_nothing(text)


@pytest.mark.parametrize(
    "text",
    [
        "ไม่มีโทษจำคุก", "ไม่มีโทษ ทางวินัย", "ไม่มีโทษทาง วินัย", "ไม่มี โทษทางวินัย", "ไม่เคย ถูกลงโทษ", "ไม่มีโทษ หรือ คดี",
        "ไม่มีโทษ และ คดี",
        "ไม่มีโทษทางวินัย และไม่เคยต้องโทษจำคุก", "ไม่มีโทษทางวินัย ไม่เคยต้องโทษจำคุก", "ไม่มีโทษ , ไม่มีคดี", "ไม่มีคดีความ", "ไม่มีโทษใด ๆ",
        "ไม่เคยถูกลงโทษทางวินัยใดๆ ทั้งสิ้น", "ไม่เคยถูกลงโทษทางวินัยมาก่อน", "ไม่เคยถูกสอบสวนและลงโทษทางวินัย",
        "ไม่มีโทษทางวินัยและโทษจำคุก", "ไม่เคยถูกลงโทษทางวินัยอย่างร้ายแรง", "ไม่เคยถูกกล่าวหากระทำผิดวินัย",
        "ไม่มีโทษหรือลาศึกษาต่อ", "ไม่เคยกระทำผิดวินัย", "ไม่มีโทษผิดวินัย", "ไม่มีประวัติผิดวินัย", "ไม่มีการลาและโทษทางวินัย",
        "ไม่มีโทษ.", "ไม่มีโทษ. ไม่เคยลา.", "ไม่มี...ไม่เคยถูกลงโทษทางวินัย", "..ไม่มี..", "ไม่มีโทษทางวินัย....",
    ],
)  # fmt: skip
def test_denial_reaches_what_only_says_more_of_its_matter(text: str) -> None:
    assert says_nothing(text)


@pytest.mark.parametrize("word", ["ในระหว่าง", "การลา", "ประวัติ", "เครื่องราชฯ", "หรือโทษ", "และ", "ใดๆ", "ทาง", "และโทษ"])
def test_denial_of_any_length_is_read_at_once(word: str) -> None:
    text = f"ไม่มีโทษ{word * 2000}x"  # a few milliseconds; took longer than the test may, where words overlap
    assert not says_nothing(text)
    assert without_denials(text) == text


@pytest.mark.parametrize("word", ["โทษ ", "ใด ", "มี ", "โทษใดๆ ", ".", ".โทษ"])
def test_denial_of_many_words_apart_is_read_at_once(word: str) -> None:
    assert not says_nothing(f"ไม่มีโทษ{word * 20_000}x")


def test_imprisonment_after_a_denial_is_a_bad_row(tmp_path: Path) -> None:
    roster = read(write(tmp_path, f"{HEADER},imprisonment\n{GOOD},ไม่มีโทษ ต้องจำคุก\n"))
    assert roster.officers == []
    assert roster.bad_rows == 1


def test_study_leave_after_a_denial_is_reviewed_as_a_penalty(tmp_path: Path) -> None:
    assert one(tmp_path, f"{HEADER},discipline\n{GOOD},ไม่มีโทษและลาศึกษาต่อ\n").discipline


@pytest.mark.parametrize("text", ["ไม่อยู่ในราชการ", "ไม่มีข้อมูล"])
def test_leave_that_is_not_understood_counts_as_leave(text: str, tmp_path: Path) -> None:
    assert one(tmp_path, f"{HEADER},on_leave\n{GOOD},{text}\n").on_leave == text


@pytest.mark.parametrize("text", ["ไม่ได้ลาออก", "ยังไม่ลาออก", "ปัจจุบัน", "ยังรับราชการอยู่", "ไม่มีการลาออก", "ปกติ"])
def test_day_of_leaving_may_say_that_the_officer_has_not_left(text: str, tmp_path: Path) -> None:
    assert is_in_office(text)
    assert one(tmp_path, f"{HEADER},resigned\n{GOOD},{text}\n").resigned is None


@pytest.mark.parametrize("text", ["ลาออก", "เกษียณ", "โอน", "ไม่อยู่"])
def test_day_of_leaving_in_other_words_is_not_in_office(text: str) -> None:
    assert not is_in_office(text)


def test_missing_values_of_statistics_programs_are_empty_cells(tmp_path: Path) -> None:
    officer = one(tmp_path, f"{HEADER},nationality,discipline,resigned\n{GOOD},NA,NA,NA\n")
    assert (officer.nationality, officer.discipline, officer.resigned) == ("TH", (), None)
