"""Titles between the rows of a sheet: what they say of the officers below them."""

from pathlib import Path
from time import process_time

import pytest

from tests.support.insignia import ROUND, rows
from tests.unit.test_insignia_award_columns import FACTS, HEADER, OTHER, PERSON
from tests.unit.test_insignia_award_sheets import book
from tests.unit.test_insignia_roster import read, write
from worker.insignia import evaluation
from worker.insignia.evaluation import evaluate_roster
from worker.insignia.roster.person_id import check_digit
from worker.insignia.roster.row_reader import CHUNK
from worker.insignia.roster.titles import TitleKind, judge, title_of

THIRD = "3100600000021"
COMMAS = "," * HEADER.count(",")
EXCLUDING = [
    "ผู้ที่เอกสารไม่ถูกต้อง รอตรวจสอบ",
    "ไม่เคยถูกลงโทษ (ลาออกแล้ว)",
    "ผู้ที่ลาออกระหว่างปี",
    "รายชื่อผู้ไม่มีสิทธิ์ขอ",
    "ข้าราชการที่อยู่ระหว่างถูกสอบสวน",
    "2. ผู้เสียชีวิต",
    "ข. ข้าราชการที่โอนไปหน่วยงานอื่น",
    "เจ้าหน้าที่ที่พ้นจากราชการ",
    "กลุ่มลาออก",
    "ผู้ถูกลงโทษทางวินัย",
    "ผู้ขาดคุณสมบัติ",
    "ไม่เสนอขอ",
    "ตัดออก",
    "- ลาศึกษาต่อ -",
    "พ้นสภาพ",
    "ผู้ไม่ผ่านเกณฑ์",
    "รอตรวจสอบ",
    "ชะลอการเสนอขอ",
    "ไม่อยู่ในข่าย",
    "ย้ายไปต่างจังหวัด",
    "ได้รับพระราชทานแล้ว",
    "RESIGNED",
    "Not eligible",
    "กลุ่มถูกสอบสวน",
    "ไม่ประสงค์ขอรับ",
    "ซ้ำ",
    "รายชื่อสำรอง",
    "ข้าราชการเกษียณอายุ",
    "๓) ผู้ที่ถูกงดเสนอ",
    "เเละผู้ลาออก",
    "บัญชีที่ 2 ไม่พิจารณา",
    "รายชื่อที่ห้ามเสนอ",
    "รายชื่อผู้เสียสิทธิ",
    "ลูกจ้างที่หมดสัญญา",
    "ภาคทัณฑ์",
    "ส่วนที่ 2 มีโทษทางวินัย",
    "กลุ่มที่ 3 สอบสวนทางวินัย",
    "นอกจากนี้ข้าราชการที่ลาออกแล้วมีดังนี้",
    "นางสาวและนางที่ลาออก",
    "ข้าราชการที่ไม่เคยปฏิบัติงานจริงและลาออกแล้ว",
    "ประจำการแต่ศึกษาต่อ",
    "ข้าราชการ ไม่มีโทษทางวินัย ลาออกแล้ว",
    "ไม่มีโทษ ลาออก",
    "ไม่มีโทษลาออก",
    "อ.ลาออก",
    "ข้าราชการที่ไม่เคยถูกลงโทษและอยู่ระหว่างสอบสวน",
    "ไม่มีโทษและลาศึกษาต่อ",
    "ไม่มีผู้ถูกลงโทษ ลาออก",
    "ข้าราชการไม่มีวินัย",
    "ผู้มีคุณสมบัติ ไม่มีโทษ ลาออกแล้ว",
    "ข้าราชการไม่เคยถูกลงโทษ ลาออกแล้ว",
    "รายชื่อผู้ที่ไม่ถูกเสนอชื่อ",
    "รายชื่อข้าราชการที่ไม่ถูกเสนอขอพระราชทาน",
    "บุคลากรยกเว้นไม่เสนอขอ",
]
HAPPENED = [
    "ครูผิดวินัยร้ายแรง", "นายแพทย์ลาออก", "นายแพทย์ชำนาญการลาออก", "สิ้นสุดการจ้าง",
    "ข้าราชการล่วงลับ", "ครูกระทำความผิด", "ครูประพฤติชั่ว",
    "ลูกจ้างประจำล่วงลับ", "พนักงานราชการทั่วไปสิ้นสุดการจ้าง", "ลูกจ้างสิ้นสุดสัญญา", "เจ้าหน้าที่จำคุก",
    "เจ้าหน้าที่ติดคุก", "ครูต้องขัง", "ครูผู้ช่วยลา",
    "อาจารย์ลาเพิ่มพูนความรู้", "แพทย์ลาเรียน", "ครูศึกษาต่อ", "ครูบวช", "ครูออกแล้ว", "นายช่างพ้นหน้าที่",
    "ครูทิ้งงาน", "ข้าราชการวายชนม์", "ครูเออร์ลี่",
    "ข้าราชการทุจริต", "นิติกรมีคดี", "ครูทัณฑ์บน", "ตำแหน่งยุบ", "สิ้นสุดวาระ",
    "กลุ่มล่วงลับ", "สำนักการคลัง (ล่วงลับ)", "โรงเรียนวัดสุทัศน์ - ผิดวินัย",
    "ครู : ผิดวินัย", "1. ครูผิดวินัย", "สำนักการคลัง (ลา)", "นายทหารปลดประจำการ",
    "พนักงานราชการหมดสัญญาจ้าง", "ครูลา", "นายทะเบียนลาออก",
    "ข้าราชการออกจากระบบราชการ", "ครูออกจากระบบ", "ข้าราชการ ออกจากระบบ กบข.", "ข้าราชการที่ออกจากระบบราชการ",
    "ครูที่ลา", "ครูซึ่งลา", "นายแพทย์ที่ลาออก", "กลุ่มที่ทุจริต", "ข้าราชการกำลังบวช", "ครูไปเรียนต่อ", "ครูขอลา", "แพทย์ประจำบ้านศึกษาต่อ",
    "สำนักการคลัง ลา", "สำนักการคลัง (ออก)", "สำนักการคลัง (พ้น)", "โรงเรียนวัดสุทัศน์ - ออก", "สำนักการคลัง (ศึกษาต่อ)",
    "นายก อบต. ลาออก", "นายกสภามหาวิทยาลัยลาออก", "นายกองค์การบริหารส่วนตำบลลาออก", "นายสิบลาออก", "นายเวรลาออก",
    "ครูโดนสอบสวน", "ครูโดนไล่", "ครูถึงแก่ชีวิต", "ข้าราชการถึงแก่ความตาย", "พนักงานราชการครบสัญญา", "ลูกจ้างครบกำหนดสัญญา",
    "ครูหนีไป", "ครูทุจริต", "ข้าราชการที่ทุจริตและประพฤติมิชอบ", "ข้าราชการประพฤติมิชอบ", "ข้าราชการจากไปแล้ว", "เจ้าหน้าที่ออกจากงาน",
    "โรงเรียนวัดสุทัศน์ ระหว่างลา", "ระหว่างลาวิจัย", "ระหว่างลาดูงาน", "ครูลาเรียน",
    "นายแพทย์ลาศึกษาต่อ", "นายแพทย์อยู่ระหว่างลาศึกษาต่อ", "นายช่างที่ถูกลงโทษ", "นายทหารไม่อยู่ในเกณฑ์", "นายแพทย์ไม่มีสิทธิ์ขอพระราชทาน",
    "นายแพทย์ต้องโทษจำคุก", "นายแพทย์ (ลาศึกษาต่อ)", "นายช่าง - ช่วยราชการ", "นางพยาบาลลาติดตามคู่สมรส", "นายแพทย์งดเสนอ",
    "ศาลอาญาพิพากษาจำคุก", "ผู้ถูกศาลอาญาคดีทุจริตและประพฤติมิชอบลงโทษ", "มีคดีทุจริตและประพฤติมิชอบ",
]  # fmt: skip
"""What has happened to officers directly after their post, without a word such as ที่ between them."""
UNCLEAR = [
    "หมายเหตุ: รายชื่อต่อไปนี้ลาออกแล้ว", "รวมรายชื่อผู้เกษียณอายุราชการ", "จำนวนผู้ไม่มีสิทธิ 5 คน", "หมายเหตุ ลาออก", "รายชื่อยกเว้น",
    "บัญชีรายชื่อผู้ยกเว้นการเสนอขอ", "ข้าราชการที่ยกเว้นการเสนอขอ", "ข้าราชการที่ยกเว้นการเสนอขอพระราชทาน", "รายชื่อที่ไม่นับรวม",
    "รายชื่อผู้ไม่รวมในการเสนอขอ", "ข้าราชการที่ข้อมูลไม่สมบูรณ์", "บุคลากรไม่ต้องพิจารณา", "รายชื่อนำออก", "รายชื่อที่ต้องเอาออก",
    "ข้าราชการที่มีปัญหา", "บัญชีรายชื่อที่ยังขาดเอกสาร", "สำนักการคลัง บัญชีรายชื่อที่หายไป", "รายชื่อ" * 100,
    "รายชื่อข้าราชการที่ไม่เคยผ่านการทดลองปฏิบัติหน้าที่ราชการ", "บัญชียกเว้น", "กลุ่มยกเว้นการเสนอขอ", "รายชื่อข้าราชการ (ยกเว้น)",
    "ข้าราชการ เว้นแต่มีคำสั่ง", "กลุ่มที่ 2 ไม่นับ",
    "แพทย์ที่เดินทาง", "ครูที่หมุนเวียน",
]  # fmt: skip
NEUTRAL = [
    "สพป.ขอนแก่น เขต 1",
    "สสจ.เชียงราย",
    "อบต.บางพลี",
    "ทน.หาดใหญ่", "สนง.เขตบางรัก", "รร.วัดสระเกศ", "สน.บางรัก", "ที่ว่าการอำเภอเมือง", "อ.เมือง", "อ.บางพลี",
    "ที่ดินจังหวัดตาก", "คลังจังหวัดตาก", "การไฟฟ้านครหลวง", "การประปาส่วนภูมิภาค", "ท่าอากาศยาน",
    "บัญชีแสดงคุณสมบัติของข้าราชการซึ่งไม่เคยถูกลงโทษทางวินัย", "ข้าราชการที่ไม่อยู่ระหว่างถูกสอบสวน", "ข้าราชการซึ่งไม่ลาศึกษาต่อ",
    "ประถมาภรณ์ช้างเผือก (ป.ช.)", "ทวีติยาภรณ์มงกุฎไทย 3 คน", "สายงานสอน", "สังกัด สำนักอนามัย", "ยกมา", "1 จาก 3", "หมวดแรงงาน",
    "บางกะปิ", "โทร. 02-123-4567", "รับโอน", "ย้ายมาจากหน่วยงานอื่น", "เรือนจำกลาง", "กรณีปกติ",
    "สำนักการคลัง", "1. สำนักงานเขตบางรัก", "ฝ่ายวินัย", "กลุ่มงานวินัยและนิติการ", "กองคดี", "ลำดับที่",
    "หน้า 2/5", "รวม 12 คน", "รวมผู้ลาออก 3 คน", "โรงเรียนวัดสุทัศน์", "ระดับชำนาญการ", "ประเภทวิชาการ",
    "ข้าราชการสามัญ", "ลูกจ้างประจำ", "ชั้นสายสะพาย", "ท.ช.", "2568", "(3)", "นายสมชาย ใจดี",
    "ลงชื่อ ผู้รับรอง", "ข้อมูล ณ วันที่ 29 พ.ค. 2568", "บัญชีรายชื่อข้าราชการ", "นักวิชาการศึกษา", "ครู คศ.2",
    "ตรวจแล้วถูกต้อง", "หมายเหตุ ไม่รวมผู้ลาออก", "เพศชาย", "-", "กองดุริยางค์", "ผู้อำนวยการกอง",
    "ผู้ช่วยผู้อำนวยการเขต", "สำนักงาน ก.ก.", "ขอรับรองว่าถูกต้อง", "ผู้ว่าราชการกรุงเทพมหานคร",
    "นิติการ", "พัสดุ", "ธุรการ", "การเงินและบัญชี", "การเจ้าหน้าที่", "เชียงใหม่", "น่าน", "อธิบดี", "เลขาธิการ", "ผู้บังคับบัญชา", "ผอ.กอง",
    "ตอนที่ 1", "ฉบับที่ 2", "ส่วนที่ 3", "Finance", "Director", "รวมผู้ลาออก 3 ราย", "ศูนย์บริการผู้สูงอายุ", "หอผู้ป่วยใน", "ฝ่ายบัญชี",
    "บัญชีรายชื่อข้าราชการ สำนักการคลัง", "รายชื่อข้าราชการและลูกจ้างประจำ ประจำปี 2568", "ผู้จัดทำ นายสมชาย ใจดี",
    "กลุ่มงานควบคุมคุณภาพน้ำเสีย",
    "ข้าราชการที่ไม่เคยถูกลงโทษทางวินัยหรือถูกสอบสวน", "ข้าราชการซึ่งไม่เคยถูกลงโทษทางวินัยอย่างร้ายแรง", "ไม่มีโทษทางวินัย",
    "ข้าราชการที่ไม่เคยได้รับพระราชทานเครื่องราชอิสริยาภรณ์", "ข้าราชการที่ไม่อยู่ระหว่างลา", "ข้าราชการที่ไม่เคยต้องโทษจำคุก",
    "รายชื่อข้าราชการ (ไม่รวมลูกจ้างประจำ)", "รายชื่อข้าราชการ ยกเว้นผู้ลาออก",
    "เจ้าหน้าที่วินัย", "ครูผู้ช่วย", "นิติกรวินัย", "พนักงานสอบสวน", "เจ้าพนักงานบังคับคดี",
    "เจ้าพนักงานราชทัณฑ์", "เจ้าหน้าที่ออกใบเสร็จ", "งานออกแบบ",
    "ครูลาวัลย์", "อาจารย์ลาวัณย์", "ครูลำปาง", "โรงเรียนบ้านลาด", "ฝ่ายลาดพร้าว", "กลุ่มลาดกระบัง",
    "อำเภอลานสกา", "ครูโรงเรียนบ้านตายาย", "สิ้นสุด",
    "สิ้นสุดรายงาน", "จบรายชื่อ", "กองป้องกันการทุจริต", "เจ้าหน้าที่ป้องกันการทุจริต",
    "เจ้าหน้าที่ควบคุมผู้ต้องขัง", "หน่วยเคลื่อนย้ายผู้ป่วย", "นายแพทย์",
    "นายแพทย์สมชาย ใจดี", "นายแพทย์ชำนาญการพิเศษ", "นายช่างโยธา", "นายสมชาย ลาออก",
    "งานลดขั้นตอน", "นักวิชาการศึกษา (ปฏิบัติการ)", "กลุ่มงานวินัยร้ายแรง",
    "ข้าราชการครู", "พนักงานออกบัตร", "นักวิชาการศึกษาต่อเนื่อง", "ทัณฑสถานหญิง",
    "งานเวลาราชการ", "ศาลาว่าการกรุงเทพมหานคร", "ครูไม่มีโทษทางวินัย",
    "ระดับไม่ต่ำกว่าชำนาญการ", "บัญชีรายชื่อข้าราชการ ณ วันที่ 1 เมษายน 2568", "จำนวนทั้งหมด 5 คน",
    "ออกจากระบบ", "[ออกจากระบบ]",
    "กลุ่มหนี้สาธารณะ", "ส่วนหนี้สิน", "นักวิชาการหนี้สาธารณะ", "การเงิน - หนี้สิน", "เจ้าหน้าที่ (หนี้สิน)",
    "กลุ่มงานป้องกันการทุจริตและประพฤติมิชอบ", "ศูนย์ป้องกันและปราบปรามการทุจริตและประพฤติมิชอบ", "กลุ่มงานคดีทุจริตและประพฤติมิชอบ",
    "โครงการลดเวลาเรียนเพิ่มเวลารู้", "ศูนย์ศาลาเรียนรู้ชุมชน", "สอนนอกเวลาเรียน", "กลุ่มเวลาศึกษา", "ความร่วมมือระหว่างลาวและไทย",
    "สอนระหว่างลาดพร้าว", "โครงการระหว่างลานสกา",
    "ข้าราชการจากไปรษณีย์ไทย", "เจ้าหน้าที่ออกงาน", "กลุ่มทุจริต", "กลุ่มล้มละลาย", "ส่วนล้มละลาย", "ครูแนะแนว (ศึกษาต่อ)",
    "กลุ่มงานแนะแนว - ศึกษาต่อ", "โรงเรียนพุทธศาสนา - บวชสามเณร", "กรมราชทัณฑ์ (คุมขังพิเศษ)", "นายกอง ลา",
    "ด่านศุลกากร (เข้า - ออก)", "งานทะเบียนเข้า-ออก", "ครูที่ปรึกษา", "เจ้าพนักงานที่ดิน", "นายก อบต.บางพลี", "นายกสมาคม",
    "แพทย์ประจำบ้าน",
    "ศาลอาญาคดีทุจริตและประพฤติมิชอบ", "ศาลอาญาคดีทุจริตและประพฤติมิชอบภาค 1", "ศาลอาญากรุงเทพใต้",
    "ศาลล้มละลายกลาง", "ข้าราชการศาลอาญา (12 คน)",
    "ศาลฎีกาแผนกคดีอาญาของผู้ดำรงตำแหน่งทางการเมือง", "นายแพทย์วินัย ใจดี", "นายแพทย์ ลาภ", "นางพยาบาลโอนมา",
]  # fmt: skip


PAGE = "บัญชีแสดงคุณสมบัติของข้าราชการซึ่งขอพระราชทานเครื่องราชอิสริยาภรณ์ ประจำปี 2568"


def content(title: str) -> str:
    return "\n".join([f"{HEADER},decorations", f"{PERSON},{FACTS},", f"{title}{COMMAS},", f"{OTHER},{FACTS},"])


@pytest.mark.parametrize("title", [*EXCLUDING, *HAPPENED])
def test_officers_below_a_title_that_excludes_them_are_left_to_a_reviewer(title: str, tmp_path: Path) -> None:
    roster = read(write(tmp_path, content(title)))
    first, second = roster.officers
    assert first.on_leave is None
    assert second.on_leave
    [skipped, notice] = roster.notices
    assert (skipped.row, skipped.code) == (3, "not_an_officer")
    assert (notice.row, notice.person_id, notice.code) == (4, OTHER, "section_exclusion")
    assert "row 3" in notice.text
    assert "แถวที่ 3" in notice.text_th


@pytest.mark.parametrize("title", NEUTRAL)
def test_title_that_says_nothing_of_the_officers_changes_nothing(title: str, tmp_path: Path) -> None:
    assert judge(title) is TitleKind.NEUTRAL
    assert [one.on_leave for one in read(write(tmp_path, content(title))).officers] == [None, None]


@pytest.mark.parametrize("title", UNCLEAR)
def test_title_about_people_that_is_not_read_to_its_end_is_left_to_a_reviewer(title: str, tmp_path: Path) -> None:
    roster = read(write(tmp_path, content(title)))
    assert [bool(one.on_leave) for one in roster.officers] == [False, True]
    assert roster.notices[-1].code == "section_unclear"


@pytest.mark.parametrize(
    "title",
    [
        "บัญชีรายชื่อข้าราชการที่มีคุณสมบัติครบและไม่มีโทษทางวินัย",
        "บัญชีรายชื่อผู้มีสิทธิขอพระราชทาน โดยไม่มีผู้ถูกลงโทษ",
        "ผู้มีคุณสมบัติซึ่งไม่เคยถูกลงโทษทางวินัยและอาญา",
        "บัญชีรายชื่อผู้ขอพระราชทาน (ไม่รวมผู้ลาออกและผู้เกษียณ)",
    ],
)
def test_title_may_say_that_officers_have_no_penalties(title: str, tmp_path: Path) -> None:
    assert judge(title) is TitleKind.INCLUDED
    text = f"{title}\n{HEADER},decorations\n{PERSON},{FACTS},\n"
    assert [one.on_leave for one in read(write(tmp_path, text)).officers] == [None]


@pytest.mark.parametrize(
    ("cells", "is_doubtful"),
    [
        pytest.param("2.,,ผู้ที่ลาออก,,จำนวน 3 ราย", True, id="number and count"),
        pytest.param("กลุ่ม,,ผู้ลาออก,,สำนักการคลัง", True, id="one of three texts"),
        pytest.param("รวม,ลาออก,3 ราย,คงเหลือ,5 ราย", False, id="total"),
        pytest.param(",,นายสมชาย,ใจดี,ลาออก", False, id="person without id"),
        pytest.param(",,สมชาย,ใจดี,ลาออก", False, id="names without id"),
        pytest.param("?,?,?,?,?", False, id="unknown cells"),
        pytest.param("กลุ่ม,,ชำนาญการ,สำนักการคลัง,", False, id="says nothing"),
    ],
)
def test_title_of_several_cells_may_exclude_officers(cells: str, is_doubtful: bool, tmp_path: Path) -> None:
    lines = ["no,person_id,first_name,last_name,extra," + HEADER.partition(",")[2] + ",decorations"]
    lines += [f"1,{PERSON},ก,ข,,{FACTS},", cells + COMMAS, f"2,{OTHER},ค,ง,,{FACTS},"]
    assert [bool(one.on_leave) for one in read(write(tmp_path, "\n".join(lines))).officers] == [False, is_doubtful]


def test_second_header_in_other_words_does_not_exclude_officers(tmp_path: Path) -> None:
    header, again = f"{HEADER},decorations,โทษทางวินัย", f"{HEADER},decorations,โทษวินัย"
    lines = [header, f"{PERSON},{FACTS},,", again, f"{OTHER},{FACTS},,"]
    assert [bool(one.on_leave) for one in read(write(tmp_path, "\n".join(lines))).officers] == [False, False]


def test_headings_that_a_page_repeats_do_not_exclude_officers(tmp_path: Path) -> None:
    header, over = f"{HEADER},decorations,discipline", "ข้อมูล,เงินเดือน,โทษทางวินัย" + "," * (COMMAS.count(",") - 1)
    lines = [over, header, f"{PERSON},{FACTS},,", over, header, f"{OTHER},{FACTS},,"]
    assert [bool(one.on_leave) for one in read(write(tmp_path, "\n".join(lines))).officers] == [False, False]


@pytest.mark.parametrize(
    ("text", "doubtful"),
    [
        pytest.param("ลาออก 1 ต.ค. 2567", [True, True], id="either side"),
        pytest.param("ถึงแก่กรรม", [True, True], id="death"),
        pytest.param("ผู้ลาออก", [False, True], id="people below"),
        pytest.param("ข้าราชการบำนาญ", [False, True], id="officials below"),
    ],
)
def test_exclusion_below_an_officer_may_be_about_either_side(text: str, doubtful: list[bool], tmp_path: Path) -> None:
    lines = [f"{HEADER},decorations,post", f"{PERSON},{FACTS},,นักวิชาการ", f"{COMMAS},,{text}", f"{OTHER},{FACTS},,"]
    assert [bool(one.on_leave) for one in read(write(tmp_path, "\n".join(lines))).officers] == doubtful


@pytest.mark.parametrize("second", [PAGE, f"{PAGE} หน้า 2", f"{PAGE} (แผ่นที่ 2/3)", f"{PAGE} (ต่อ)"])
def test_title_that_every_page_repeats_does_not_end_an_exclusion(second: str, tmp_path: Path) -> None:
    header = f"{HEADER},decorations"
    lines = [PAGE, header, f"{PERSON},{FACTS},", f"ข้าราชการที่ลาออกระหว่างปี{COMMAS},", f"{OTHER},{FACTS},"]
    text = "\n".join([*lines, f"{second}{COMMAS},", header, f"{THIRD},{FACTS},"])
    assert [bool(one.on_leave) for one in read(write(tmp_path, text)).officers] == [False, True, True]


def test_title_of_a_page_without_meaning_does_not_end_an_unclear_one(tmp_path: Path) -> None:
    lines = ["ปรับปรุงครั้งล่าสุด", f"{HEADER},decorations", f"{PERSON},{FACTS},", f"ปรับปรุงครั้งล่าสุด{COMMAS},"]
    text = "\n".join([*lines, f"{OTHER},{FACTS},", f"ผู้ลาออก{COMMAS},", f"{THIRD},{FACTS},"])
    assert [bool(one.on_leave) for one in read(write(tmp_path, text)).officers] == [False, False, True]


def test_exclusion_ends_at_each_title_of_those_with_the_right_to_propose(tmp_path: Path) -> None:
    lines = [f"{HEADER},decorations", f"ผู้มีสิทธิ{COMMAS},", f"{PERSON},{FACTS},", f"ผู้ลาออก{COMMAS},", f"{OTHER},{FACTS},"]
    text = "\n".join([*lines, f"ผู้มีสิทธิ{COMMAS},", f"{THIRD},{FACTS},"])
    assert [bool(one.on_leave) for one in read(write(tmp_path, text)).officers] == [False, True, False]


@pytest.mark.parametrize(
    "title", ["รวม" + "1" * 40_000, "(" * 40_000 + "x", "โอนจาก" * 100_000, "ครูที่" * 100_000, "(ลา" * 100_000]
)
def test_title_of_any_length_is_judged_at_once(title: str) -> None:
    began = process_time()
    assert judge(title) in TitleKind
    assert title_of([title, "a", "b"]) == ""
    assert process_time() - began < 5  # 10 to 60 s where the time grows with the square of the length


def test_log_out_of_a_page_does_not_end_an_exclusion(tmp_path: Path) -> None:
    lines = [f"{HEADER},decorations", f"ผู้ลาออก{COMMAS},", f"ออกจากระบบ{COMMAS},", f"{PERSON},{FACTS},"]
    assert [bool(one.on_leave) for one in read(write(tmp_path, "\n".join(lines))).officers] == [True]


def test_page_number_after_marks_of_any_length_is_found_at_once(tmp_path: Path) -> None:
    began = process_time()
    read(write(tmp_path, f"บัญชี{'-' * 40_000}x\n{HEADER},decorations\n{PERSON},{FACTS},\n"))
    assert process_time() - began < 5


@pytest.mark.parametrize(("title", "code"), [("เพิ่มเติมจากหนังสือ", "section_unclear"), ("ผู้ลาออก", "section_exclusion")])
def test_title_holds_on_in_a_sheet_that_continues_the_one_before(title: str, code: str, tmp_path: Path) -> None:
    facts = FACTS.split(",")
    first = [[*HEADER.split(","), "decorations"], [PERSON, *facts, ""], [title], [OTHER, *facts, ""]]
    roster = read(book(tmp_path / "r.xlsx", Sheet1=first, Sheet2=[[THIRD, *facts, ""]]))
    assert [bool(one.on_leave) for one in roster.officers] == [False, True, True]
    assert [notice.code for notice in roster.notices if notice.person_id == THIRD] == [code]


def many(count: int, after: str, last: str = "") -> str:
    """Return a roster with `count` officers before a line, and others after it whose last column is `last`."""
    starts = [str(310060000000 + number) for number in range(count + 3)]
    persons = [f"{start}{check_digit(start)}" for start in starts]
    lines = [f"{person},{FACTS},,{last if place >= count else ''}" for place, person in enumerate(persons)]
    return "\n".join([f"{HEADER},decorations,หมายเหตุ", *lines[:count], after, *lines[count:]])


@pytest.mark.parametrize("count", [CHUNK - 2, CHUNK - 1, CHUNK])
@pytest.mark.parametrize("text", ["(ลาออก)", "ถึงแก่กรรม"])
def test_remark_below_an_officer_is_seen_where_a_part_begins(count: int, text: str, tmp_path: Path) -> None:
    officers = read(write(tmp_path, many(count, f"{COMMAS},,{text}"))).officers
    assert [place for place, officer in enumerate(officers) if officer.on_leave] == [count - 1]


@pytest.mark.parametrize("count", [CHUNK - 2, CHUNK - 1])
def test_office_that_the_rows_below_repeat_is_seen_where_a_part_begins(count: int, tmp_path: Path) -> None:
    officers = read(write(tmp_path, many(count, f"ดอยสูง{COMMAS},,", "ดอยสูง"))).officers
    assert not any(officer.on_leave for officer in officers)


def test_title_that_is_not_understood_is_left_to_a_reviewer_up_to_the_next_one(tmp_path: Path) -> None:
    text = f"{content('เพิ่มเติมจากหนังสือ')}\nสำนักการแพทย์{COMMAS},\n{THIRD},{FACTS},\n"
    roster = read(write(tmp_path, text))
    assert [bool(one.on_leave) for one in roster.officers] == [False, True, False]
    assert [(notice.row, notice.code) for notice in roster.notices if notice.person_id] == [(4, "section_unclear")]


@pytest.mark.parametrize("between", ["หน้า 2", "1 จาก 3", "รวม 1 คน", "ลงชื่อ ผู้รับรอง", "นายสมชาย ใจดี"])
def test_page_total_or_signature_does_not_end_a_title_that_is_not_understood(between: str, tmp_path: Path) -> None:
    text = f"{content('เพิ่มเติมจากหนังสือ')}\n{between}{COMMAS},\n{THIRD},{FACTS},\n"
    assert [bool(one.on_leave) for one in read(write(tmp_path, text)).officers] == [False, True, True]


@pytest.mark.parametrize("title", ["ผู้ลาออก,จำนวน 1 ราย", ",ส่วนที่ 2,ผู้ลาออก", "2,ส่วนที่ 2,ผู้ลาออก"])
def test_title_in_the_columns_of_the_officers_is_read(title: str, tmp_path: Path) -> None:
    text = content("").replace(f"\n{COMMAS},\n", f"\n{title}{',' * (COMMAS.count(',') + 1 - title.count(','))}\n")
    roster = read(write(tmp_path, text), bad_row_limit=100.0)
    assert [bool(one.on_leave) for one in roster.officers] == [False, True]
    assert {cell.row for cell in roster.bad_cells} == {3}


def test_title_that_the_rows_below_repeat_is_an_office(tmp_path: Path) -> None:
    text = f"{HEADER},decorations,office\n{PERSON},{FACTS},,พระนคร\nดุสิต,,\n{OTHER},{FACTS},,ดุสิต\n"
    assert [one.on_leave for one in read(write(tmp_path, text)).officers] == [None, None]


@pytest.mark.parametrize(
    ("title", "is_doubtful"), [("สำนักการคลัง", True), ("ผู้มีสิทธิ์ขอพระราชทาน", False), ("- ไม่มี -", False)]
)
def test_exclusion_ends_where_a_title_says_so(title: str, is_doubtful: bool, tmp_path: Path) -> None:
    text = f"{content('ผู้ลาออก')}\n{title}{COMMAS},\n{THIRD},{FACTS},\n"
    assert [bool(one.on_leave) for one in read(write(tmp_path, text)).officers] == [False, True, is_doubtful]


@pytest.mark.parametrize(
    ("title", "is_doubtful"),
    [
        ("บัญชีรายชื่อข้าราชการที่ลาออก ปี 2568", True),
        ("บัญชีรายชื่อผู้ขอพระราชทาน (ยกเว้นผู้ลาออก)", False),
        ("ปรับปรุงครั้งล่าสุด", False),
    ],
)
def test_title_above_the_header_is_about_all_officers(title: str, is_doubtful: bool, tmp_path: Path) -> None:
    text = f"{title}\n\n{HEADER},decorations\n{PERSON},{FACTS},\n"
    assert [bool(one.on_leave) for one in read(write(tmp_path, text)).officers] == [is_doubtful]


def test_title_of_retirement_is_judged_by_the_birth_date(tmp_path: Path) -> None:
    born = FACTS.split(",")
    place = HEADER.split(",").index("birth_date") - 1
    text = f"{HEADER},decorations\nผู้เกษียณอายุราชการ ปี 2568{COMMAS},\n"
    for person, birth in ((PERSON, "1965-03-03"), (OTHER, "1970-03-03")):
        text += f"{person},{','.join([*born[:place], birth, *born[place + 1 :]])},\n"
    assert [bool(one.on_leave) for one in read(write(tmp_path, text)).officers] == [False, True]


def test_titles_are_seen_when_a_roster_is_read_in_columns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path, content("ผู้ที่ลาออก"))
    by_row = evaluate_roster(path, ROUND)
    monkeypatch.setattr(evaluation, "_LARGE", 1)
    in_columns = evaluate_roster(path, ROUND)
    assert in_columns.notices == by_row.notices
    assert rows(in_columns) == rows(by_row)


def test_title_or_signature_in_the_middle_of_a_page_is_not_a_bad_row(tmp_path: Path) -> None:
    birth = HEADER.split(",").index("birth_date")
    lines = [f"{',' * birth}{text}{',' * (COMMAS.count(',') - birth)}," for text in ("(ลงชื่อ)......", "ผู้ที่ลาออกระหว่างปี")]
    lines.append(lines[0].replace("(ลงชื่อ)......,", "ลงชื่อ,ผู้รับรอง"))
    text = "\n".join([f"{HEADER},decorations", f"{PERSON},{FACTS},", *lines, f"{OTHER},{FACTS},"])
    roster = read(write(tmp_path, text))
    assert [bool(one.on_leave) for one in roster.officers] == [False, True]
    assert not roster.bad_cells
