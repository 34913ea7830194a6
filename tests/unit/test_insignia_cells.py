"""Single cells: what is understood, what is rejected, and with which reason."""

from datetime import date

import pytest

from worker.insignia.criteria.loader import load_criteria
from worker.insignia.roster.cells import Unreadable, normalize, parse_amount, parse_date, parse_yes_or_no
from worker.insignia.roster.decorations import parse_discipline, parse_list, parse_received
from worker.insignia.roster.person_id import check_digit, has_valid_check_digit, parse_person_id
from worker.insignia.roster.vocabulary import Vocabulary, build_vocabulary

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
def test_parse_date_understands(text: str, expected: date | None) -> None:
    assert parse_date(text) == expected


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("29/02/2568", "does not exist"),
        ("31/04/2568", "does not exist"),
        ("13/13/2568", "does not exist"),
        ("28/07/68", "two digits"),
        ("45866", "spreadsheet"),
        ("2325-07-28", "neither"),
        ("0568-07-28", "neither"),
        ("yesterday", "not a date"),
        ("28 XX 2568", "not a date"),
        ("8/2568 x", "not a date"),
    ],
)
def test_parse_date_rejects_doubtful_text_without_repeating_it(text: str, why: str) -> None:
    with pytest.raises(Unreadable, match=why) as caught:
        parse_date(text)
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
def test_parse_received_gives_a_ceremony_day_or_a_remark(text: str, expected: date | None, remark: str) -> None:
    assert parse_received(text, DAYS) == (expected, remark)


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
        ("16,500฿", 16500),
        ("๑๖,๕๐๐ บาท/เดือน", 16500),
        ("16500 บาทต่อเดือน", 16500),
    ],
)
def test_parse_amount_understands(text: str, expected: float | None) -> None:
    assert parse_amount(text) == expected


@pytest.mark.parametrize("text", ["-5", "15.050,00", "15,05", "1e5", "abc", "15 050x", "9999999999", "inf"])
def test_parse_amount_rejects_other_text(text: str) -> None:
    with pytest.raises(Unreadable):
        parse_amount(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("true", True), ("1", True), ("ใช่", True), ("", False), ("False", False), ("ไม่มี", False), ("๐", False)],
)
def test_parse_yes_or_no_understands(text: str, expected: bool) -> None:
    assert parse_yes_or_no(text) is expected


@pytest.mark.parametrize("text", ["ไม่ต้องโทษ", "ไม่ต้องโทษจำคุก", "ไม่มีมลทินหรือมัวหมอง", "ไม่มีวันลา"])
def test_parse_yes_or_no_understands_further_denials(text: str) -> None:
    assert parse_yes_or_no(text) is False


def test_parse_yes_or_no_rejects_other_words() -> None:
    with pytest.raises(Unreadable):
        parse_yes_or_no("perhaps")


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
def test_parse_person_id_understands(text: str, expected: str) -> None:
    assert parse_person_id(text) == expected


@pytest.mark.parametrize("text", ["", "  ", "1.23457E+12", "x" * 101, "a\x07b"])
def test_parse_person_id_rejects_other_text(text: str) -> None:
    with pytest.raises(Unreadable):
        parse_person_id(text)


def test_check_digit_depends_on_every_digit() -> None:
    # 0×13 + 1×12 + 2×11 + … + 9×4 + 0×3 + 1×2 = 302 = 27×11 + 5, so the digit is 11 - 5.
    assert check_digit("012345678901") == 6
    assert has_valid_check_digit("0123456789016")
    assert not has_valid_check_digit("0123456789017")
    assert not has_valid_check_digit("0213456789016")
    assert has_valid_check_digit("C01")


def test_normalize_removes_invisible_characters_and_outer_spaces() -> None:
    assert normalize("\ufeff ก\u200bข\u00a0 ค\n") == "กข ค"


@pytest.fixture(scope="module")
def words() -> Vocabulary:
    return build_vocabulary(load_criteria())


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
def test_vocabulary_knows_decorations_by_any_name(words: Vocabulary, text: str, code: str) -> None:
    assert words.decoration(text) == code


def test_vocabulary_knows_every_decoration_by_code_abbreviation_and_name(words: Vocabulary) -> None:
    criteria = load_criteria()
    for item in criteria.decorations:
        for text in (item.code, item.abbr_th, item.abbr_th.replace(".", ""), item.name_th, item.name_en):
            assert words.decoration(text) == item.code


@pytest.mark.parametrize(("text", "why"), [("34", "differs between systems"), ("X.Y.", "unknown"), ("", "unknown")])
def test_vocabulary_rejects_unknown_decorations(words: Vocabulary, text: str, why: str) -> None:
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
        ("ระดับชำนาญการ (ชก.)", "civil_servant", "academic", "K2"),
        ("สูง (อส.)", "civil_servant", "director", "D2"),
        ("ปฎิบัติการ", "civil_servant", None, "K1"),
        ("", "civil_servant", None, None),
    ],
)
def test_vocabulary_knows_levels_by_any_name(
    words: Vocabulary, text: str, group: str | None, position_type: str | None, code: str | None
) -> None:
    assert words.level(text, group, position_type) == code


@pytest.mark.parametrize(
    ("text", "why"),
    [("ต้น", "several position types"), ("สูง", "several"), ("กลุ่มงานเชี่ยวชาญพิเศษ", "unknown"), ("K9", "unknown")]
    + [(f"{level} ({word})", "unknown") for level in ("K2", "ชำนาญการ") for word in ("รักษาการ", "ชพ.", "ปฏิบัติหน้าที่")],
)
def test_vocabulary_rejects_unknown_and_ambiguous_levels(words: Vocabulary, text: str, why: str) -> None:
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
def test_vocabulary_knows_groups_by_any_name(words: Vocabulary, text: str, code: str | None) -> None:
    assert words.group(text) == code


def test_vocabulary_rejects_teachers_and_temporary_employees(words: Vocabulary) -> None:
    for text in ("ข้าราชการครู", "ลูกจ้างชั่วคราว"):
        with pytest.raises(Unreadable, match="unknown group"):
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
def test_parse_discipline_takes_any_text_for_a_penalty(text: str, expected: tuple[str, ...]) -> None:
    assert parse_discipline(text) == expected


@pytest.mark.parametrize("text", ["[{[]: 1}]", "[{{}: 1}]", "[{[1]}]"])
def test_list_with_an_unhashable_key_is_unreadable(text: str) -> None:
    with pytest.raises(Unreadable):
        parse_list(text)
