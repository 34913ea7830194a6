"""The service status, words for "no decorations", and histories that list everyone."""

from pathlib import Path

import pytest

from tests.support.insignia import held
from tests.unit.test_insignia_award_columns import FACTS, HEADER, OTHER, PERSON
from tests.unit.test_insignia_roster import read, refusal, write
from worker.insignia.roster.side_columns import names_leavers


@pytest.mark.parametrize("heading", ["STATUS_EXP", "service_status", "สถานะการปฏิบัติราชการ"])
@pytest.mark.parametrize(
    ("text", "expected"),
    [("มีชีวิตอยู่", None), ("ปกติ", None), ("", None), ("รับราชการอยู่", None), ("ถึงแก่กรรม", "ถึงแก่กรรม"), ("ลาออก", "ลาออก")],
)
def test_status_other_than_in_service_is_left_to_a_reviewer(
    heading: str, text: str, expected: str | None, tmp_path: Path
) -> None:
    content = f"{HEADER},{heading},decorations\n{PERSON},{FACTS},{text},\n"
    assert [officer.on_leave for officer in read(write(tmp_path, content)).officers] == [expected]


def test_status_beside_leave_does_not_hide_it(tmp_path: Path) -> None:
    rows = (f"{PERSON},{FACTS},ปกติ,ลาศึกษาต่อ,", f"{OTHER},{FACTS},โอน,ไม่ลา,")
    content = "\n".join([f"{HEADER},STATUS_EXP,การลา,decorations", *rows])
    assert [officer.on_leave for officer in read(write(tmp_path, content)).officers] == ["ลาศึกษาต่อ", "โอน"]


@pytest.mark.parametrize(
    "text", ["ยังไม่เคยได้รับ", "ไม่เคยได้รับพระราชทาน", "ยังไม่เคยได้รับพระราชทานเครื่องราชอิสริยาภรณ์", "ยังไม่มี", "ไม่มีเครื่องราชฯ"]
)
def test_decorations_say_none(text: str, tmp_path: Path) -> None:
    content = f"{HEADER},decorations\n{PERSON},{FACTS},{text}\n"
    assert [officer.decorations for officer in read(write(tmp_path, content)).officers] == [()]


@pytest.mark.parametrize("text", ["ไม่มีข้อมูล", "ต.ม. (เรียกคืน)", "ต.ม. (ไม่ได้รับ) 28/7/2564", "ต.ม. (รอเสนอขอ)"])
def test_decoration_that_is_not_simply_held_is_a_bad_row(text: str, tmp_path: Path) -> None:
    roster = read(write(tmp_path, f"{HEADER},decorations\n{PERSON},{FACTS},{text}\n"))
    assert [cell.column for cell in roster.bad_cells] == ["decorations"]


@pytest.mark.parametrize("line", [",", "-,", "ไม่มี,-", "ยังไม่เคยได้รับ,"])
def test_history_may_list_officers_without_decorations(line: str, tmp_path: Path) -> None:
    lines = f"{PERSON},CT3,2021-07-28\n{OTHER},{line}\n3100600000021,{line}\n"
    history = write(tmp_path, f"person_id,decoration,received\n{lines}", "history.csv")
    roster = read(write(tmp_path, f"{HEADER}\n{PERSON},{FACTS}\n{OTHER},{FACTS}\n"), history=history)
    assert [officer.decorations for officer in roster.officers] == [held("CT3 2021"), ()]
    assert not roster.bad_cells
    assert not roster.remarks


@pytest.mark.parametrize(
    ("heading", "field"),
    [
        ("ประวัติโทษ", "discipline"),
        ("อยู่ระหว่างถูกสอบสวน", "discipline"),
        ("วันที่พ้นสภาพ", "left_service"),
        ("วันที่ถึงแก่กรรม", "left_service"),
        ("วันที่พ้น", "left_service"),
        ("วันที่โอนออก", "left_service"),
        ("มรณะเมื่อ", "left_service"),
        ("ลาศึกษา/ฝึกอบรม", "on_leave"),
        ("วันที่มีผลลาออก", "resigned"),
        ("สัญชาติของบิดา", "nationality"),
        ("Date of termination", "left_service"),
    ],
)
def test_heading_about_a_missing_field_rejects_the_roster(heading: str, field: str, tmp_path: Path) -> None:
    path = write(tmp_path, f"{HEADER},decorations,{heading}\n{PERSON},{FACTS},,\n")
    assert f'"{heading}" resembles {field}' in refusal(path)
    assert read(path, mapping={heading: "-"}).officers


@pytest.mark.parametrize("heading", ["วันเกษียณอายุราชการ", "ปีที่เกษียณ", "โทรศัพท์", "หมายเหตุ", "วันลาพักผ่อนคงเหลือ"])
def test_heading_that_decides_nothing_is_left_out(heading: str, tmp_path: Path) -> None:
    assert read(write(tmp_path, f"{HEADER},decorations,{heading}\n{PERSON},{FACTS},,\n")).officers


def test_heading_about_a_field_that_is_there_is_a_remark(tmp_path: Path) -> None:
    roster = read(write(tmp_path, f"{HEADER},decorations,discipline,ประวัติโทษ\n{PERSON},{FACTS},,,\n"))
    assert any("ประวัติโทษ" in remark for remark in roster.remarks)


@pytest.mark.parametrize(
    "text",
    [
        "ต.ม. 28/7/2564  ต.ช. 28/7/2567", "ต.ม. (2564) ต.ช. (2567)", "ต.ม. 2564 และ ต.ช. 2567",
        "CT3 28 ก.ค. 2564 WE3 28 ก.ค. 2567",
    ],
)  # fmt: skip
def test_decorations_may_stand_one_after_the_other(text: str, tmp_path: Path) -> None:
    content = f"{HEADER},decorations\n{PERSON},{FACTS},{text}\n"
    assert [one.decorations for one in read(write(tmp_path, content)).officers] == [held("CT3 2021", "WE3 2024")]


@pytest.mark.parametrize(("text", "notices"), [("ยังไม่บรรจุ", ["pay_in_words"]), ("-", []), ("12,000 บาทถ้วน", [])])
def test_pay_five_years_ago_may_be_words(text: str, notices: list[str], tmp_path: Path) -> None:
    roster = read(write(tmp_path, f'{HEADER},salary_5y_ago,decorations\n{PERSON},{FACTS},"{text}",\n'))
    assert [notice.code for notice in roster.notices] == notices
    assert [one.salary_5y_ago for one in roster.officers] == [12000 if "บาท" in text else None]


def test_line_of_a_history_without_id_and_name_continues_the_line_above(tmp_path: Path) -> None:
    lines = f"{PERSON},ก,ข,CT3,2021-07-28\n,,,WE3,2024-07-28\n{OTHER},ค,ง,CT3,2021-07-28\n,,,,\n"
    history = write(tmp_path, f"person_id,first_name,last_name,decoration,received\n{lines}", "history.csv")
    roster = read(write(tmp_path, f"{HEADER}\n{PERSON},{FACTS}\n{OTHER},{FACTS}\n"), history=history)
    assert [one.decorations for one in roster.officers] == [held("CT3 2021", "WE3 2024"), held("CT3 2021")]
    assert [(repair.row, repair.code) for repair in roster.repairs] == [(3, "id_of_above")]


@pytest.mark.parametrize(
    "lines",
    [
        pytest.param(",,,WE3,2024-07-28", id="nothing above"),
        pytest.param(f"{PERSON},ก,ข,CT3,2021-07-28\n,ค,ง,WE3,2024-07-28", id="another name"),
        pytest.param(f"{PERSON},ก,ข,CT3,2021-07-28\n1.2E+12,,,WE3,2024-07-28\n,,,CT3,2021-07-28", id="lost above"),
    ],
)
def test_line_of_a_history_without_an_id_of_its_own_rejects_the_roster(lines: str, tmp_path: Path) -> None:
    history = write(tmp_path, f"person_id,first_name,last_name,decoration,received\n{lines}\n", "history.csv")
    assert "no usable id" in refusal(write(tmp_path, f"{HEADER}\n{PERSON},{FACTS}\n"), history=history)


def test_line_of_a_history_without_names_needs_its_id(tmp_path: Path) -> None:
    lines = f"{PERSON},CT3,2021-07-28\n,WE3,2024-07-28"
    history = write(tmp_path, f"person_id,decoration,received\n{lines}\n", "history.csv")
    assert "no usable id" in refusal(write(tmp_path, f"{HEADER}\n{PERSON},{FACTS}\n"), history=history)


@pytest.mark.parametrize("heading", ["หมายเหตุ", "REMARK", "สถานะ", "note 2"])
@pytest.mark.parametrize(
    ("text", "is_reviewed"),
    [
        ("ลาออก 1 มิ.ย. 2568", True), ("ถึงแก่กรรม", True), ("Resigned", True), ("โอนไปกรมที่ดิน", True), ("พักราชการ", True),
        ("อยู่ระหว่างถูกสอบสวน", True), ("เกษียณแล้ว", True), ("เกษียณ 30 ก.ย. 2566", True), ("เกษียณก่อนกำหนด", True),
        ("เกษียณอายุราชการ 30 ก.ย. 2593", False), ("จะเกษียณปี 2593", False),
        ("รับโอนจากกรมที่ดิน", False), ("รับโอนไปสังกัด อบจ.", True), ("กรมที่ดินรับโอนไปแล้ว", True), ("รับโอนแล้ว", False),
        ("โอนเข้ารับราชการที่ สตง.", True), ("โอนเข้าสังกัด สตง.", True), ("โอนเข้าปี 2560", False),
        ("ไม่เคยถูกลงโทษ", False),
        ("ยังไม่ลาออก", False), ("", False), ("-", False), ("ตรวจแล้ว", False), ("โสด", False),
        ("ได้รับพระราชทานแล้วปี 2568", True), ("ได้รับ ท.ม. แล้ว", True), ("เสนอขอแล้ว", True), ("ขอซ้ำ", True),
        ("ไม่ครบ 5 ปี", True), ("คุณสมบัติไม่ครบ", True), ("ไม่อยู่ในหลักเกณฑ์", True), ("รอผลสอบสวน", True), ("งดเสนอ", True),
        ("ย้ายไป สพฐ.", True), ("ตัดสิทธิ์", True), ("not eligible", True), ("ย้ายมาจากกรมที่ดิน", False),
        ("ไม่ซ้ำ", False), ("ไม่มีรายชื่อซ้ำ", False), ("ตรวจซ้ำแล้ว", False), ("ไม่มีเหตุงดเสนอ", False), ("มีเหตุงดเสนอ", True),
        ("ตรวจซ้ำแล้วตัดออก", True), ("ไม่มีเหตุงดเสนอ แต่ลาออก", True), ("ได้รับ ต.ม. แล้ว ขอ ต.ช.", False),
        ("ครบถ้วน ไม่เคยถูกลงโทษทางวินัย", False), ("มีคุณสมบัติครบและไม่มีโทษทางวินัย", False),
        ("ไม่เคยถูกลงโทษ ถูกสอบสวน", True), ("ไม่มี โทษ ภาคทัณฑ์", True), ("โอน-ย้าย เข้า", False),
        ("โอนจากกรม ก ไปกรม ข", True),
        ("โยกย้ายไปกรมที่ดิน", True), ("ย้ายจากกรม ก ไปกรม ข", True),
        ("รับย้าย", False), ("ขอครั้งแรก", False), ("ช่วยราชการ", False), ("รองหัวหน้า", False),
    ],
)  # fmt: skip
def test_remark_about_leaving_or_a_penalty_is_left_to_a_reviewer(
    heading: str, text: str, is_reviewed: bool, tmp_path: Path
) -> None:
    roster = read(write(tmp_path, f"{HEADER},{heading},decorations\n{PERSON},{FACTS},{text},\n"))
    assert [officer.on_leave for officer in roster.officers] == [text if is_reviewed else None]
    assert [notice.column for notice in roster.notices if notice.code == "side_exclusion"] == [heading] * is_reviewed


@pytest.mark.parametrize("heading", ["วันเกษียณ", "ปีเกษียณ", "retirement_date"])
@pytest.mark.parametrize(
    ("text", "is_reviewed"),
    [
        ("30/9/2593", False), ("2593", False), ("93", False), ("2050-09-30", False), ("55061", False),
        ("ยังไม่เกษียณ", False),
        ("", False), ("30/9/2566", True), ("2566", True), ("เกษียณแล้ว", True), ("66", True),
    ],
)  # fmt: skip
def test_retirement_that_the_birth_date_does_not_tell_is_left_to_a_reviewer(
    heading: str, text: str, is_reviewed: bool, tmp_path: Path
) -> None:
    roster = read(write(tmp_path, f"{HEADER},{heading},decorations\n{PERSON},{FACTS},{text},\n"))
    assert [officer.on_leave for officer in roster.officers] == [text if is_reviewed else None]


@pytest.mark.parametrize(
    ("fields", "heading", "text", "is_reviewed"),
    [
        ("discipline", "ประวัติโทษ", "ภาคทัณฑ์", True),
        ("discipline", "ประวัติโทษ", "ไม่เคยถูกลงโทษ", False),
        ("discipline", "ประวัติโทษ", "0", False),
        ("on_leave", "ลาศึกษา/ฝึกอบรม", "ใช่", True),
        ("left_service", "วันที่ถึงแก่กรรม", "1/2/2568", True),
        ("nationality", "สัญชาติของบิดา", "จีน", False),
        ("discipline", "ข้อมูลใหม่", "ลาออก", True),
        ("discipline", "ข้อมูลใหม่", "ฝ่ายวินัย", False),
        ("discipline", "ผลการพิจารณา", "ไม่เห็นควรเสนอ", True),
        ("discipline", "ผลการพิจารณา", "ตัดออก", True),
        ("discipline", "ผลการพิจารณา", "เห็นควรเสนอ", False),
        ("discipline", "ชื่อ-สกุล", "นาย ก ข (ไม่ประสงค์ขอ)", True),
        ("discipline", "ตำแหน่ง", "รองผู้อำนวยการ", False),
        ("discipline", "ชื่อ-สกุล", "นาย ก ข (เสียชีวิต)", True),
        ("discipline", "ชื่อ-สกุล", "นาย วินัย โทษา", False),
        ("discipline", "ชื่อ-สกุล", "โอนนุช ก", False),
        ("discipline", "ตำแหน่ง", "เกษียณอายุราชการ", True),
        ("discipline", "ตำแหน่ง", "นักวิชาการ (ลาออก)", True),
        ("discipline", "สังกัด", "โอนไปกรมที่ดิน", True),
        ("discipline", "สังกัด", "กองวินัย", False),
        ("discipline", "ตำแหน่ง", "ข้าราชการบำนาญ", True),
        ("discipline", "ตำแหน่ง", "อดีตนักวิชาการ", True),
        ("discipline", "สังกัด", "กองบำเหน็จบำนาญ", False),
    ],
)
def test_second_column_about_an_exclusion_is_left_to_a_reviewer(
    fields: str, heading: str, text: str, is_reviewed: bool, tmp_path: Path
) -> None:
    content = f"{HEADER},{fields},{heading},decorations\n{PERSON},{FACTS},,{text},\n"
    assert [officer.on_leave for officer in read(write(tmp_path, content)).officers] == [text if is_reviewed else None]


@pytest.mark.parametrize(
    ("text", "is_reviewed"),
    [
        ("ล่วงลับ", True), ("วายชนม์ 1 พ.ค. 68", True), ("สิ้นสุดการจ้าง", True), ("สิ้นสุดสภาพการเป็นพนักงาน",
        True), ("ติดคุก", True),
        ("ทัณฑ์บน 1 ปี", True), ("ประพฤติชั่ว", True), ("ลาอุปสมบท", True), ("อยู่ระหว่างลา", True),
        ("ถูกร้องเรียน", True), ("มีเรื่องร้องเรียน", True), ("ไม่มีเรื่องร้องเรียน", False), ("อยู่ระหว่างอุทธรณ์", True),
        ("โอนมาจากศาลอุทธรณ์", False), ("รับเรื่องร้องเรียน", False), ("ถูกจับกุม", True), ("จำเลยที่ 1", True),
        ("ต้องคำพิพากษา", True),
        ("หนีราชการ", True), ("ขาดงานเกิน 15 วัน", True), ("ว่ากล่าวตักเตือน", True), ("ลดตำแหน่ง", True), ("ทุจริตต่อหน้าที่", True),
        ("มาจากกองปราบปรามการทุจริต", False), ("ไม่มีมลทินมัวหมอง", False), ("มีมลทิน", True), ("ขอปี 2567 แล้ว", True),
        ("ขอ ต.ม. ปี 2567 แล้ว", True), ("เสนอขอพระราชทานปี พ.ศ. 2567 แล้ว", True), ("ขอ 15 แล้ว", False),
        ("กระทำการทุจริต", True), ("มีการทุจริต", True), ("ป้องกันทุจริต", False), ("ปราบปรามการทุจริต", False),
        ("ไม่เคยถูกตักเตือน", False), ("ไม่มีข้อร้องเรียน", False), ("ไม่เคยขาดงาน", False), ("ไม่ขาดราชการ", False),
        ("ไม่ทุจริต", False), ("ไม่มีข้อตำหนิ", False), ("ไม่เคยถูกร้องเรียนหรือตักเตือน", False), ("ไม่มีข้อกล่าวหา", False),
        ("ได้รับแต่งตั้งกรรมการตรวจรับ", False), ("ถูกตั้งกรรมการ", True), ("ไม่เคยขาดงาน ถูกตักเตือน", True),
        ("ยังไม่ถูกจับกุม", True), ("ยังไม่มีคำพิพากษา", True), ("ไม่ได้ยื่นอุทธรณ์", True),
        ("ขอพระราชทานปี 2568", False), ("ลาป่วย 3 วัน", False), ("ลากิจ", False), ("ลาคลอด", False),
        ("ไม่อยู่ระหว่างลา", False), ("ลดขั้นตอนแล้ว", False), ("ครบวาระประเมิน", False), ("พนักงานเคลื่อนย้าย", False),
    ],
)  # fmt: skip
def test_remark_about_what_has_happened_is_left_to_a_reviewer(text: str, is_reviewed: bool, tmp_path: Path) -> None:
    content = f"{HEADER},หมายเหตุ,decorations\n{PERSON},{FACTS},{text},\n"
    assert [officer.on_leave for officer in read(write(tmp_path, content)).officers] == [text if is_reviewed else None]


def test_words_for_no_allowance_thai_by_birth_and_not_left_are_understood(tmp_path: Path) -> None:
    heads = f"{HEADER},เงินประจำตำแหน่ง,สัญชาติ,ถูกเรียกคืนเครื่องราชฯ,วันพ้นราชการ,decorations"
    content = (
        f"{heads}\n{PERSON},{FACTS},ไม่ได้รับ,ไทย (โดยการเกิด),ไม่เคย,ยังไม่พ้น,\n{OTHER},{FACTS},5600,ไทยโดยกำเนิด,เคย,-,\n"
    )
    found = [
        (one.position_allowance, one.nationality, one.decoration_recalled, one.left_service)
        for one in read(write(tmp_path, content)).officers
    ]
    assert found == [(None, "TH", False, None), (5600, "TH", True, None)]


def test_level_with_a_word_for_leaving_in_brackets_is_left_to_a_reviewer(tmp_path: Path) -> None:
    content = f"{HEADER},decorations\n{PERSON},{FACTS.replace('K2', 'K2 (ลาออก)')},\n"
    assert [officer.on_leave for officer in read(write(tmp_path, content)).officers] == ["K2 (ลาออก)"]


@pytest.mark.parametrize(
    ("sheet", "is_about_leavers"),
    [
        ("งานบรรจุแต่งตั้งและโยกย้าย", False), ("กลุ่มงานสรรหาและโยกย้าย", False), ("ข้อมูลไม่ซ้ำ", False), ("ตรวจซ้ำแล้ว", False),
        ("รายชื่อ(ตัดซ้ำแล้ว)", False), ("โอน-ย้าย เข้า", False), ("โอนย้ายเข้า", False), ("โยกย้าย", True), ("โอน-ย้าย", True),
        ("ซ้ำ", True), ("ผู้ถูกตัดซ้ำแล้ว", True), ("ย้ายออก", True), ("ไม่มีโทษ ลาออก", True),
        ("ผิดวินัย", True), ("ล่วงลับ", True), ("จำคุก", True), ("สิ้นสุดการจ้าง", True), ("ลาศึกษาต่อ", True), ("มีโทษ", True),
        ("กลุ่มงานวินัย", False), ("กองคดี", False), ("งานลดขั้นตอน", False), ("ไม่มีโทษ", False), ("หน่วยเคลื่อนย้ายผู้ป่วย", False),
    ],
)  # fmt: skip
def test_name_of_a_sheet_tells_leavers_from_offices_and_checked_lists(sheet: str, is_about_leavers: bool) -> None:
    assert names_leavers(sheet) is is_about_leavers
