"""The texts for people about rosters, in English and Thai, by code: refusals, bad cells, notices and repairs.

Texts never contain an id, a name or the content of a cell; file names, row numbers and headings are allowed.
"""

from typing import NamedTuple

from worker.insignia.notice_messages import NOTICES, REMARKS, REPAIRS
from worker.insignia.round_messages import ROUNDS


class BilingualText(NamedTuple):
    """A text in both languages under its code."""

    code: str
    en: str
    th: str


def message(code: str, **values: object) -> BilingualText:
    """Return the text of a code with its values. Raises KeyError for an unknown code."""
    en, th = CATALOGUE[code]
    in_thai = {name: _NAMES_TH.get(value, value) if isinstance(value, str) else value for name, value in values.items()}
    return BilingualText(code, en.format(**values), th.format(**in_thai))


_NAMES_TH = {"the list of officers": "รายการ officers", "the list of history": "รายการ history"}
"""What stands in the place of a file's name for lists of objects."""


_FILES = {
    "empty_file": ("{name} is empty", "{name} เป็นไฟล์ว่าง"),
    "no_file": ("{name} does not exist", "ไม่พบไฟล์ {name}"),
    "is_folder": ("{name} is a folder, not a file", "{name} เป็นโฟลเดอร์ ไม่ใช่ไฟล์"),
    "not_readable": ("{name} cannot be read: {why}", "อ่านไฟล์ {name} ไม่ได้: โปรดตรวจสิทธิ์ของไฟล์"),
    "too_large": ("{name} is larger than {limit} MB: split it", "{name} มีขนาดเกิน {limit} MB: โปรดแบ่งไฟล์"),
    "other_format": (
        "{name} {what}: open it and save it as XLSX or CSV UTF-8",
        "{name} {what_th}: โปรดเปิดแล้วบันทึกเป็น XLSX หรือ CSV UTF-8",
    ),
    "binary": (
        "{name} is binary, not text or a workbook: open it and save it as XLSX or CSV UTF-8",
        "{name} ไม่ใช่ข้อความหรือสมุดงาน: โปรดเปิดแล้วบันทึกเป็น XLSX หรือ CSV UTF-8",
    ),
    "password": (
        "{name} is protected by a password: remove the password and save it again",
        "{name} มีรหัสผ่าน: โปรดเอารหัสผ่านออกแล้วบันทึกใหม่",
    ),
    "zip_bomb": (
        "{name} unpacks to more than {limit} MB: it is damaged, or save the sheet with the officers alone",
        "{name} ขยายแล้วใหญ่เกิน {limit} MB: ไฟล์อาจเสียหาย หรือโปรดบันทึกเฉพาะแผ่นงานรายชื่อ",
    ),
    "too_many_cells": (
        "{name}: the sheet {sheet} reaches to row {rows} and column {columns}: delete the unused rows and columns",
        "{name}: แผ่นงาน {sheet} มีข้อมูลถึงแถว {rows} คอลัมน์ {columns}: โปรดลบแถวและคอลัมน์ที่ไม่ใช้",
    ),
    "broken_workbook": (
        "{name} is a damaged workbook: open it in a spreadsheet program and save it as XLSX",
        "{name} เป็นสมุดงานที่เสียหาย: โปรดเปิดด้วยโปรแกรมตารางคำนวณแล้วบันทึกเป็น XLSX",
    ),
    "not_a_workbook": (
        "{name} is a zip archive but not a workbook: upload the files in it one by one",
        "{name} เป็นไฟล์ zip ที่ไม่ใช่สมุดงาน: โปรดแตกไฟล์แล้วส่งทีละไฟล์",
    ),
    "no_sheets": ("{name} has no visible sheet with cells", "{name} ไม่มีแผ่นงานที่มองเห็นและมีข้อมูล"),
    "page_without_table": (
        "{name} is a web page or XML without a table: save it as XLSX or CSV UTF-8",
        "{name} เป็นหน้าเว็บหรือ XML ที่ไม่มีตาราง: โปรดบันทึกเป็น XLSX หรือ CSV UTF-8",
    ),
    "damaged_utf8": (
        "{name}: line {line} is damaged (the rest is UTF-8): save it again as UTF-8",
        "{name}: บรรทัด {line} เสียหาย (ส่วนที่เหลือเป็น UTF-8): โปรดบันทึกใหม่เป็น UTF-8",
    ),
    "mixed_encoding": (
        "{name}: line {line} is UTF-8 but other lines are in the Thai code page 874: save it again as UTF-8",
        "{name}: บรรทัด {line} เป็น UTF-8 แต่บรรทัดอื่นเป็นรหัสไทย 874: โปรดบันทึกใหม่เป็น UTF-8",
    ),
    "unknown_encoding": (
        "{name}: line {line} is neither UTF-8 nor Thai (code page 874): save it as CSV UTF-8",
        "{name}: บรรทัด {line} ไม่ใช่ UTF-8 หรือรหัสไทย 874: โปรดบันทึกเป็น CSV UTF-8",
    ),
    "bad_json": (
        "{name}: line {line}, column {column}: invalid JSON; correct it",
        "{name}: บรรทัด {line} ตำแหน่ง {column}: JSON ไม่ถูกต้อง โปรดแก้ไข",
    ),
    "json_not_a_list": (
        '{name}: must be a list of objects, or {{"{list}": [...]}}',
        '{name}: ต้องเป็นรายการของออบเจ็กต์ หรือ {{"{list}": [...]}}',
    ),
    "open_quote": (
        "{name}: the quote opened on line {line} is not closed where it should be: correct it there",
        "{name}: เครื่องหมายคำพูดที่เปิดในบรรทัด {line} ไม่ได้ปิดในที่ที่ควร: โปรดแก้ไขที่บรรทัดนั้น",
    ),
}

_COLUMNS = {
    "no_officers": ("{name} has a header but no officers", "{name} มีหัวตารางแต่ไม่มีรายชื่อ"),
    "empty_list": ("{name} has no officers: the list is empty", "{name} ไม่มีรายชื่อ: รายการว่าง"),
    "no_known_column": (
        "{name}: {place} no known column; required are {required}. Headings seen: {seen}",
        "{name}: ไม่พบหัวคอลัมน์ที่รู้จัก ต้องมี {required_th} หัวคอลัมน์ที่พบ: {seen}",
    ),
    "missing_columns": (
        "{name}: missing {word}: {fields}; add them, with empty cells for unknown values{near}",
        "{name}: ขาดคอลัมน์ {fields_th}: โปรดเพิ่ม โดยเว้นช่องว่างหากไม่ทราบค่า{near_th}",
    ),
    "unknown_class": (
        "{name}: these headings seem to name classes, but none that is known: {heads}; correct them, or map them to -",
        "{name}: หัวคอลัมน์เหล่านี้คล้ายชื่อชั้นตราแต่ไม่รู้จัก: {heads} โปรดแก้ไข หรือจับคู่กับ -",
    ),
    "unclear_decorations": (
        '{name}: the column "{head}" may have only some decorations, or proposed ones: add a column decorations, '
        "or use --map",
        '{name}: คอลัมน์ "{head}" อาจมีเครื่องราชอิสริยาภรณ์เพียงบางส่วนหรือที่ขอพระราชทาน: '
        "โปรดเพิ่มคอลัมน์เครื่องราชอิสริยาภรณ์ หรือจับคู่หัวคอลัมน์",
    ),
    "list_of_leavers": (
        "{name}: the sheet {sheet} seems to list officers who are excluded: remove them and this sheet",
        "{name}: แผ่นงาน {sheet} น่าจะเป็นรายชื่อผู้ที่ไม่อยู่ในข่าย: โปรดลบรายชื่อเหล่านั้นและแผ่นงานนี้",
    ),
    "sheet_of_awards": (
        "{name}: the sheet {sheet} lists decorations of officers but cannot be joined with them: give it the columns "
        "person_id, decoration and received, one line for each decoration, or remove it",
        "{name}: แผ่นงาน {sheet} มีเครื่องราชอิสริยาภรณ์ของบุคคล แต่จับคู่กับรายชื่อไม่ได้: โปรดให้มีคอลัมน์เลขประจำตัวประชาชน ชั้นตรา "
        "และวันที่ได้รับ บรรทัดละหนึ่งรายการ หรือลบแผ่นงานนี้ออก",
    ),
    "class_gap": ("{name}: no column for {classes}: add one for each", "{name}: ไม่มีคอลัมน์ของ {classes}: โปรดเพิ่ม"),
    "other_header": (
        "{name}: row {row} is a second header with other columns: put the rows below it on a sheet of their own",
        "{name}: แถวที่ {row} เป็นหัวตารางอีกชุดที่เรียงคอลัมน์ต่างกัน: โปรดแยกแถวใต้หัวตารางนี้ไปไว้อีกแผ่นงานหรืออีกไฟล์",
    ),
    "two_columns": (
        "{name}: two columns mean {field}: remove one of them",
        "{name}: มีสองคอลัมน์ที่หมายถึง{field_th}: โปรดลบออกหนึ่งคอลัมน์",
    ),
    "no_decorations": (
        "{name} has no column of decorations held: add a column decorations, or last_decoration and "
        "last_decoration_date, or give a history file (person_id, decoration, received)",
        "{name} ไม่มีคอลัมน์เครื่องราชอิสริยาภรณ์ที่ได้รับ: โปรดเพิ่มคอลัมน์เครื่องราชอิสริยาภรณ์ หรือชั้นตราล่าสุดกับวันที่ได้รับ หรือแนบไฟล์ประวัติ",
    ),
    "bad_mapping": (
        "the mapping names an unknown field: {field}; known are {known}",
        "การจับคู่คอลัมน์ระบุฟิลด์ที่ไม่รู้จัก: {field} ที่รู้จักคือ {known}",
    ),
    "mapping_unused": (
        "{name}: the mapping explains a heading that is in no file: {unused}. The headings are: {heads}",
        "{name}: การจับคู่คอลัมน์ระบุหัวคอลัมน์ที่ไม่มีในไฟล์: {unused} หัวคอลัมน์ในไฟล์มี: {heads}",
    ),
    "too_bad": (
        "{name}: {bad} of {rows} rows ({percent} %) cannot be read, more than the limit of {limit} %: {first}. "
        "Correct them, or raise Insignia:BadRowLimit",
        "{name}: อ่านไม่ได้ {bad} จาก {rows} แถว ({percent} %) เกินกำหนด {limit} %: {first_th} โปรดแก้ไข",
    ),
    "zero_pay_column": (
        "{name}: {field} is 0 in every row, which means that it was not filled in: fill it in",
        "{name}: {field_th}เป็น 0 ทุกแถว แสดงว่ายังไม่ได้กรอก: โปรดกรอก",
    ),
    "history_other_ids": (
        "{name}: {count} people of the history have ids that are not citizen ids, unlike the roster's, so a decoration "
        "may be missing from any officer: use the same ids, or add the names to both files",
        "{name}: ในไฟล์ประวัติมี {count} คนที่ใช้เลขประจำตัวชนิดอื่นซึ่งไม่ตรงกับไฟล์รายชื่อ: "
        "โปรดใช้เลขประจำตัวประชาชน หรือเพิ่มชื่อและนามสกุลในทั้งสองไฟล์",
    ),
    "history_without_id": (
        "{name}: {count} of {lines} lines have no usable id (lines {rows}), so a decoration may be missing from any "
        "officer: correct or remove them",
        "{name}: {count} จาก {lines} บรรทัดไม่มีเลขประจำตัวที่ใช้ได้ (บรรทัด {rows}): โปรดแก้ไขหรือลบ",
    ),
    "history_does_not_match": (
        "{name}: the history names {people} people, but only {met} of the {officers} officers are among them: the ids "
        "are written differently, or it is the history of another office",
        "{name}: ไฟล์ประวัติมี {people} คน แต่ตรงกับรายชื่อเพียง {met} จาก {officers} คน: "
        "เลขประจำตัวเขียนต่างกัน หรือเป็นประวัติของหน่วยงานอื่น",
    ),
}

_CELLS = {
    "id_missing": ("the id is missing", "ไม่มีเลขประจำตัวประชาชน"),
    "id_rounded": (
        "a spreadsheet has rounded the id: format the column as text and save again",
        "โปรแกรมตารางคำนวณปัดเลขประจำตัวแล้ว: จัดรูปแบบคอลัมน์เป็นข้อความ กรอกเลขใหม่ แล้วบันทึก",
    ),
    "id_too_long": (
        "the id is longer than 100 characters or contains control characters",
        "เลขประจำตัวยาวเกิน 100 ตัวอักษรหรือมีอักขระควบคุม",
    ),
    "id_wrong_length": ("the id has {digits} digits instead of 13", "เลขประจำตัวประชาชนมี {digits} หลัก ต้องมี 13 หลัก"),
    "id_foreign_marks": (
        "the id contains other characters, and its check digit does not fit",
        "เลขประจำตัวประชาชนมีอักขระอื่นปน และเลขตรวจสอบไม่ถูกต้อง",
    ),
    "id_other_kind": (
        "not a citizen id of 13 digits, as the other rows have",
        "ไม่ใช่เลขประจำตัวประชาชน 13 หลักเหมือนแถวอื่น",
    ),
    "contradicting_rows": (
        "the same id is in row {row} with other values, and nothing tells which row is right",
        "เลขประจำตัวซ้ำกับแถว {row} แต่ข้อมูลต่างกัน ไม่ทราบว่าแถวใดถูกต้อง",
    ),
    "left_before_service": (
        "the day of leaving is before the beginning of service",
        "วันที่ออกจากราชการอยู่ก่อนวันเริ่มรับราชการ",
    ),
    "other_row_unread": (
        "the same id is in row {row}, whose decorations cannot be read, so that this row may lack some",
        "เลขประจำตัวซ้ำกับแถว {row} ซึ่งอ่านเครื่องราชอิสริยาภรณ์ไม่ได้ แถวนี้จึงอาจขาดบางรายการ",
    ),
    "date_short_year": ("a year of two digits is ambiguous: write all four", "ปีสองหลักกำกวม: โปรดเขียนปีให้ครบสี่หลัก"),
    "date_serial": (
        "looks like a spreadsheet's day number: format the column as a date and save again",
        "เป็นเลขลำดับวันของโปรแกรมตารางคำนวณ: จัดรูปแบบคอลัมน์เป็นวันที่แล้วบันทึกใหม่",
    ),
    "date_unknown_form": ("not a date: write 2025-07-28 or 28/07/2568", "ไม่ใช่วันที่: โปรดเขียนแบบ 28/07/2568"),
    "date_impossible": ("this day does not exist in the calendar", "ไม่มีวันนี้ในปฏิทิน"),
    "date_year": (
        "the year is neither a plausible Buddhist nor a plausible common-era year",
        "ปีไม่สมเหตุผลทั้ง พ.ศ. และ ค.ศ.",
    ),
    "not_an_amount": (
        "not an amount of money: write 15050 or 15,050.00",
        "ไม่ใช่จำนวนเงิน: โปรดเขียนแบบ 15050 หรือ 15,050.00",
    ),
    "amount_too_large": ("the amount is too large for monthly pay", "จำนวนเงินสูงเกินกว่าจะเป็นเงินเดือน"),
    "not_yes_or_no": ("neither yes nor no: write true or false", "ไม่ใช่ทั้ง ใช่ หรือ ไม่ใช่: โปรดเขียน ใช่ หรือ ไม่ใช่"),
    "formula_error": ("a formula's error instead of a value", "เป็นข้อผิดพลาดของสูตร ไม่ใช่ค่า"),
    "unknown_group": (
        "unknown group: give civil_servant, permanent_employee or government_employee",
        "ไม่รู้จักประเภทบุคลากร: โปรดระบุ ข้าราชการ ลูกจ้างประจำ หรือพนักงานราชการ",
    ),
    "unknown_position_type": (
        "unknown position type: give general, academic, director or executive",
        "ไม่รู้จักประเภทตำแหน่ง: โปรดระบุ ทั่วไป วิชาการ อำนวยการ หรือบริหาร",
    ),
    "unknown_level": (
        "unknown level: give a code such as O2, K3, D1, PE-A, GE-2, or its Thai name",
        "ไม่รู้จักระดับ: โปรดระบุรหัส เช่น O2, K3, D1 หรือชื่อระดับ",
    ),
    "ambiguous_level": (
        "several position types or groups have this level: give the position type, or the code",
        "มีหลายประเภทตำแหน่งที่ใช้ระดับนี้: โปรดระบุประเภทตำแหน่งหรือรหัสระดับ",
    ),
    "unknown_decoration": (
        "unknown decoration: give a code such as CT5 or an abbreviation such as บ.ม.",
        "ไม่รู้จักเครื่องราชอิสริยาภรณ์: โปรดระบุอักษรย่อ เช่น บ.ม.",
    ),
    "decoration_number": (
        "a number instead of a decoration: its meaning differs between systems, give the abbreviation",
        "เป็นตัวเลขแทนชั้นตรา ซึ่งแต่ละระบบใช้ต่างกัน: โปรดระบุอักษรย่อ",
    ),
    "two_decorations": (
        "code and abbreviation name two different decorations",
        "รหัสกับอักษรย่อหมายถึงคนละชั้นตรา",
    ),
    "unreadable_list": (
        "begins like a list but cannot be read: write JSON",
        "ขึ้นต้นเหมือนรายการแต่อ่านไม่ได้: โปรดเขียนเป็น JSON",
    ),
    "must_be_a_list": ("must be a list", "ต้องเป็นรายการ"),
    "decoration_not_an_object": (
        "a decoration must be an object with code and received",
        "ชั้นตราต้องเป็นออบเจ็กต์ที่มี code และ received",
    ),
    "decoration_doubted": (
        "a remark at a decoration seems to say that it is not held: correct it, or leave the decoration out",
        "หมายเหตุของชั้นตราน่าจะหมายความว่าไม่ได้ครองชั้นตรานั้น: โปรดแก้ไข หรือตัดรายการออก",
    ),
    "decoration_without_code": (
        "a decoration has neither code nor abbr_th",
        "ชั้นตราไม่มีทั้ง code และ abbr_th",
    ),
    "history_line_unreadable": ("history line {row}: {why}", "ประวัติบรรทัด {row}: {why_th}"),
    "unreadable_cell": ("row {row}, {field}: {why}", "แถวที่ {row} {field_th}: {why_th}"),
    "unreadable_cells": ("{field}, {count} cells: {why}", "{field_th} {count} ช่อง: {why_th}"),
    "row_width": ("has {cells} cells where the header has {width}", "มี {cells} ช่อง แต่หัวตารางมี {width} ช่อง"),
    "row_shifted": (
        "a cell seems to be missing or added, so the later cells may be in the wrong column",
        "น่าจะมีช่องหายหรือเกินมา ช่องถัดไปอาจอยู่ผิดคอลัมน์",
    ),
    "not_an_object": ("is not an object with named fields", "ไม่ใช่ออบเจ็กต์ที่มีชื่อฟิลด์"),
    "born_too_late": (
        "less than {years} years lie between birth and the beginning of service",
        "วันเกิดห่างจากวันเริ่มรับราชการไม่ถึง {years} ปี",
    ),
    "born_too_early": (
        "more than {years} years lie between birth and the beginning of service",
        "วันเกิดห่างจากวันเริ่มรับราชการเกิน {years} ปี",
    ),
    "entered_late": (
        "the service begins at {years} or later: check the century",
        "เริ่มรับราชการเมื่ออายุ {years} ปีขึ้นไป: โปรดตรวจปี",
    ),
    "level_before_service": ("the level begins before the service", "วันเข้าสู่ระดับอยู่ก่อนวันเริ่มรับราชการ"),
    "award_before_birth": (
        "a decoration was received less than {years} years after birth",
        "ได้รับเครื่องราชอิสริยาภรณ์ก่อนอายุ {years} ปี",
    ),
}

CATALOGUE = _FILES | _COLUMNS | _CELLS | NOTICES | ROUNDS | REMARKS | REPAIRS
"""Code to its texts in English and Thai, with placeholders."""
