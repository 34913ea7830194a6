"""Single cells: what is understood, what is refused, and with which reason."""

from datetime import date

import pytest

from worker.insignia.cells import (
    Unreadable,
    a_date,
    a_person_id,
    an_amount,
    check_digit,
    check_digit_fits,
    tidy,
    yes_or_no,
)
from worker.insignia.history import discipline_of, received_on
from worker.insignia.loading import load_criteria
from worker.insignia.vocabulary import Vocabulary, vocabulary_of

DAYS = frozenset({(7, 28), (12, 5)})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2025-07-28", date(2025, 7, 28)),
        ("2568-07-28", date(2025, 7, 28)),
        ("28/07/2568", date(2025, 7, 28)),
        ("28-7-2568", date(2025, 7, 28)),
        ("28.7.2025", date(2025, 7, 28)),
        ("5/03/2525", date(1982, 3, 5)),
        ("๒๘/๗/๒๕๖๘", date(2025, 7, 28)),
        ("28 ก.ค. 2568", date(2025, 7, 28)),
        ("28 กรกฎาคม พ.ศ. 2568", date(2025, 7, 28)),
        ("๕ ธันวาคม ๒๕๕๗", date(2014, 12, 5)),
        ("28 Jul 2025", date(2025, 7, 28)),
        ("2025-07-28T00:00:00", date(2025, 7, 28)),
        ("2025-07-28 00:00:00.000", date(2025, 7, 28)),
        ("28/07/2568 00:00:00", date(2025, 7, 28)),
        (" 2025-07-28\u200b ", date(2025, 7, 28)),
        ("29/02/2567", date(2024, 2, 29)),
        ("", None),
        ("-", None),
        ("NULL", None),
        ("ไม่มี", None),
        ("0000-00-00", None),
    ],
)
def test_dates(text: str, expected: date | None) -> None:
    assert a_date(text) == expected


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("29/02/2568", "no such day"),
        ("31/04/2568", "no such day"),
        ("13/13/2568", "no such day"),
        ("28/07/68", "two digits"),
        ("45866", "spreadsheet"),
        ("2325-07-28", "neither"),
        ("0568-07-28", "neither"),
        ("yesterday", "no date"),
        ("28 XX 2568", "no date"),
        ("8/2568", "no date"),
    ],
)
def test_doubtful_dates_are_refused_with_a_reason_that_does_not_repeat_them(text: str, why: str) -> None:
    with pytest.raises(Unreadable, match=why) as caught:
        a_date(text)
    assert text not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "expected", "remark"),
    [
        ("5/12/2557", date(2014, 12, 5), ""),
        ("12/05/2557", date(2014, 12, 5), "received_month_first"),
        ("07/28/2563", date(2020, 7, 28), "received_month_first"),
        ("28/07/2563", date(2020, 7, 28), ""),
        ("2014-05-12", date(2014, 5, 12), "received_odd_day"),
        ("3/1/2558", date(2015, 1, 3), "received_odd_day"),
        ("", None, ""),
    ],
)
def test_a_day_of_receipt_falls_on_a_ceremony_or_gets_a_remark(text: str, expected: date | None, remark: str) -> None:
    assert received_on(text, DAYS) == (expected, remark)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("15050", 15050),
        ("15,050.00", 15050),
        ("๑๕,๐๕๐", 15050),
        ("15050.50", 15050.5),
        ("15,050 บาท", 15050),
        ("฿15,050", 15050),
        ("15,050.-", 15050),
        ("0", 0),
        ("", None),
        ("-", None),
        ("nan", None),
    ],
)
def test_amounts(text: str, expected: float | None) -> None:
    assert an_amount(text) == expected


@pytest.mark.parametrize("text", ["-5", "15.050,00", "15,05", "1e5", "abc", "15 050x", "9999999999", "inf"])
def test_amounts_that_are_none(text: str) -> None:
    with pytest.raises(Unreadable):
        an_amount(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("true", True), ("1", True), ("ใช่", True), ("", False), ("False", False), ("ไม่มี", False), ("๐", False)],
)
def test_yes_and_no(text: str, expected: bool) -> None:
    assert yes_or_no(text) is expected


def test_perhaps_is_neither() -> None:
    with pytest.raises(Unreadable):
        yes_or_no("perhaps")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0000-00002-5691", "0000000025691"),
        ("0-0000-00025-69-1", "0000000025691"),
        ("๐๐๐๐๐๐๐๐๒๕๖๙๑", "0000000025691"),
        ("0 0000 00025 69 1", "0000000025691"),
        ("'0000000025691", "0000000025691"),
        ('="0000000025691"', "0000000025691"),
        (" C01 ", "C01"),
    ],
)
def test_person_ids(text: str, expected: str) -> None:
    assert a_person_id(text) == expected


@pytest.mark.parametrize("text", ["", "  ", "1.23457E+12", "x" * 101, "a\x07b"])
def test_person_ids_that_are_none(text: str) -> None:
    with pytest.raises(Unreadable):
        a_person_id(text)


def test_the_check_digit_weighs_every_digit() -> None:
    # 0×13 + 1×12 + 2×11 + … + 9×4 + 0×3 + 1×2 = 302 = 27×11 + 5, so the digit is 11 - 5.
    assert check_digit("012345678901") == 6
    assert check_digit_fits("0123456789016")
    assert not check_digit_fits("0123456789017")
    assert not check_digit_fits("0213456789016")
    assert check_digit_fits("C01")


def test_invisible_characters_and_outer_blanks_go() -> None:
    assert tidy("\ufeff ก\u200bข\u00a0 ค\n") == "กข ค"


@pytest.fixture(scope="module")
def words() -> Vocabulary:
    return vocabulary_of(load_criteria())


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("CT5", "CT5"),
        ("ct5", "CT5"),
        ("บ.ม.", "CT5"),
        ("บม", "CT5"),
        ("บ. ม.", "CT5"),
        ("เบญจมาภรณ์มงกุฏไทย", "CT5"),
        ("จตุรถาภรณ์ช้างเผือก", "WE4"),
        ("มหาวชิรมงกุฏ", "CTS"),
        ("ม.ป.ช.", "WES"),
        ("เหรียญเงินมงกุฏไทย", "CT7"),
        ("ร.จ.พ.", "CKM"),
        ("จักรพรรดิมาลา", "CKM"),
        ("เหรียญจักรพรรดิมาลา", "CKM"),
    ],
)
def test_decorations_by_any_name(words: Vocabulary, text: str, code: str) -> None:
    assert words.decoration(text) == code


def test_every_decoration_is_known_by_code_abbreviation_and_name(words: Vocabulary) -> None:
    criteria = load_criteria()
    for item in criteria.decorations:
        for text in (item.code, item.abbr_th, item.abbr_th.replace(".", ""), item.name_th, item.name_en):
            assert words.decoration(text) == item.code


@pytest.mark.parametrize(("text", "why"), [("34", "differs between systems"), ("X.Y.", "no known"), ("", "no known")])
def test_decorations_that_are_none(words: Vocabulary, text: str, why: str) -> None:
    with pytest.raises(Unreadable, match=why):
        words.decoration(text)


@pytest.mark.parametrize(
    ("text", "group", "position_type", "code"),
    [
        ("K2", None, None, "K2"),
        ("k 2", None, None, "K2"),
        ("ge2", None, None, "GE-2"),
        ("ชำนาญการ", "civil_servant", None, "K2"),
        ("ระดับชำนาญการพิเศษ", "civil_servant", "academic", "K3"),
        ("ปฏิบัติงาน", "civil_servant", "general", "O1"),
        ("ต้น", "civil_servant", "director", "D1"),
        ("ต้น", "civil_servant", "executive", "M1"),
        ("อำนวยการสูง", "civil_servant", None, "D2"),
        ("ประเภทวิชาการ ระดับเชี่ยวชาญ", "civil_servant", None, "K4"),
        ("กลุ่มงานบริการ", "government_employee", None, "GE-1"),
        ("วิชาชีพเฉพาะ", "government_employee", None, "GE-3"),
        ("C8", "civil_servant", None, "C8"),
        ("", "civil_servant", None, None),
    ],
)
def test_levels_by_any_name(
    words: Vocabulary, text: str, group: str | None, position_type: str | None, code: str | None
) -> None:
    assert words.level(text, group, position_type) == code


@pytest.mark.parametrize(
    ("text", "why"),
    [("ต้น", "several position types"), ("สูง", "several"), ("กลุ่มงานเชี่ยวชาญพิเศษ", "no known"), ("K9", "no known")],
)
def test_levels_that_are_none_or_two(words: Vocabulary, text: str, why: str) -> None:
    with pytest.raises(Unreadable, match=why):
        words.level(text, "civil_servant", None)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("ข้าราชการพลเรือนสามัญ", "civil_servant"),
        ("ข้าราชการกรุงเทพมหานครสามัญ", "civil_servant"),
        ("ลูกจ้างประจำ", "permanent_employee"),
        ("พนักงานราชการ", "government_employee"),
        ("", None),
    ],
)
def test_groups_by_any_name(words: Vocabulary, text: str, code: str | None) -> None:
    assert words.group(text) == code


def test_teachers_and_temporary_employees_are_other_groups(words: Vocabulary) -> None:
    for text in ("ข้าราชการครู", "ลูกจ้างชั่วคราว"):
        with pytest.raises(Unreadable, match="none of the three groups"):
            words.group(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ()),
        ("[]", ()),
        ("ไม่มี", ()),
        ("false", ()),
        ("ภาคทัณฑ์", ("ภาคทัณฑ์",)),
        ("ภาคทัณฑ์; ตัดเงินเดือน", ("ภาคทัณฑ์", "ตัดเงินเดือน")),
        ('[{"penalty": "salary_cut"}]', ("salary_cut",)),
        ("[{'penalty': 'salary_cut'}]", ("salary_cut",)),
        ("[{}]", ("recorded",)),
        ("true", ("true",)),
    ],
)
def test_whatever_is_written_about_discipline_is_an_entry(text: str, expected: tuple[str, ...]) -> None:
    assert discipline_of(text) == expected
