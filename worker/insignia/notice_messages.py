"""The texts about what was read but should be checked, in English and Thai: see messages.py."""

NOTICES = {
    "date_order_unclear": (
        "dates of this column are written in both orders, and this one could be either: read as unknown",
        "คอลัมน์นี้มีทั้งวันที่แบบวันนำหน้าและเดือนนำหน้า ช่องนี้เป็นได้ทั้งสองแบบ: ถือว่าไม่ทราบค่า",
    ),
    "check_digit": (
        "the check digit does not fit the other twelve",
        "เลขตรวจสอบหลักสุดท้ายไม่ตรงกับสิบสองหลักแรก",
    ),
    "received_month_first": (
        "read month first, because only then it is a ceremony day",
        "อ่านแบบเดือนนำหน้า เพราะอ่านแบบนั้นจึงตรงกับวันพระราชพิธี",
    ),
    "received_odd_day": (
        "is not a ceremony day (28 July, formerly 5 December): check it",
        "ไม่ใช่วันพระราชพิธี (28 กรกฎาคม เดิม 5 ธันวาคม): โปรดตรวจสอบ",
    ),
    "received_unknown": (
        "only a tick: received on an unknown day",
        "มีเพียงเครื่องหมายว่าได้รับ: ถือว่าไม่ทราบวันที่ได้รับ",
    ),
    "old_row": (
        "the officer is on a sheet of a later year as well: this row was not used",
        "ผู้นี้อยู่ในแผ่นงานของปีที่ใหม่กว่าด้วย: ไม่ใช้แถวนี้",
    ),
    "old_row_more": (
        "row {row} of the sheet {sheet}, of an earlier year, has a penalty, an end of service, a remark or another "
        "nationality that this row lacks: reviewed where that decides",
        "แถวที่ {row} ของแผ่นงาน {sheet} ซึ่งเป็นปีก่อน มีโทษ การพ้นจากราชการ หมายเหตุ หรือสัญชาติอื่นที่แถวนี้ไม่มี: "
        "ให้ผู้ตรวจพิจารณาหากมีผลต่อการตัดสิน",
    ),
    "other_sheet_unread": (
        "row {row} of the sheet {sheet} is about this officer and cannot be read: reviewed where that decides",
        "แถวที่ {row} ของแผ่นงาน {sheet} เป็นของผู้นี้และอ่านไม่ได้: ให้ผู้ตรวจพิจารณาหากมีผลต่อการตัดสิน",
    ),
    "old_sheet": (
        "another sheet is named after a later year: reviewed where that decides",
        "มีแผ่นงานของปีที่ใหม่กว่า: ให้ผู้ตรวจพิจารณาหากมีผลต่อการตัดสิน",
    ),
    "received_year_only": (
        "only the year is given: read as the ceremony day of that year",
        "มีเฉพาะปี: ถือเป็นวันพระราชพิธีของปีนั้น",
    ),
    "history_line": ("line without a usable id: {why}", "บรรทัดที่ไม่มีเลขประจำตัวที่ใช้ได้: {why_th}"),
    "level_by_wage": ("unknown level: the wage decides the band", "ไม่รู้จักระดับ: ใช้ค่าจ้างตัดสิน"),
    "group_by_level": ("the group was taken from the level", "ได้ประเภทบุคลากรจากระดับ"),
    "side_exclusion": (
        "this column or sheet seems to speak of leaving, a penalty, leave or no proposal: reviewed where that decides",
        "คอลัมน์หรือแผ่นงานนี้น่าจะกล่าวถึงการพ้นจากราชการ โทษ การลา หรือการไม่เสนอขอ: ให้ผู้ตรวจพิจารณาหากมีผลต่อการตัดสิน",
    ),
    "section_exclusion": (
        'the title in row {row} seems to exclude the officers below it: "{title}"; reviewed where that decides',
        'หัวเรื่องในแถวที่ {row} น่าจะหมายถึงผู้ที่ไม่อยู่ในข่าย: "{title}" ให้ผู้ตรวจพิจารณาหากมีผลต่อการตัดสิน',
    ),
    "page_exclusion": (
        'the text above the table seems to exclude the officers in it: "{title}"; reviewed where that decides',
        'ข้อความเหนือตารางน่าจะหมายถึงผู้ที่ไม่อยู่ในข่าย: "{title}" ให้ผู้ตรวจพิจารณาหากมีผลต่อการตัดสิน',
    ),
    "row_below_exclusion": (
        'the row {row} below, without an id, seems to exclude the officer: "{title}"; reviewed where that decides',
        'แถวที่ {row} ด้านล่างซึ่งไม่มีเลขประจำตัวน่าจะหมายความว่าผู้นี้ไม่อยู่ในข่าย: "{title}" ให้ผู้ตรวจพิจารณาหากมีผลต่อการตัดสิน',
    ),
    "section_unclear": (
        'the title in row {row} is not understood: "{title}"; the officers below it are reviewed where that decides',
        'ไม่เข้าใจหัวเรื่องในแถวที่ {row}: "{title}" ให้ผู้ตรวจพิจารณารายชื่อใต้หัวเรื่องนี้หากมีผลต่อการตัดสิน',
    ),
    "hidden_row": (
        "this row is hidden or filtered out: reviewed where that decides; show the rows, or delete them",
        "แถวนี้ถูกซ่อนหรือกรองออก: ให้ผู้ตรวจพิจารณาหากมีผลต่อการตัดสิน โปรดแสดงแถวหรือลบออก",
    ),
    "struck_row": (
        "a cell of this row is struck through: reviewed where that decides",
        "แถวนี้มีช่องที่ขีดฆ่า: ให้ผู้ตรวจพิจารณาหากมีผลต่อการตัดสิน",
    ),
    "comment": (
        "a cell of this row has a comment, which was not used: check it",
        "แถวนี้มีข้อคิดเห็นที่ไม่ได้นำมาใช้: โปรดตรวจสอบ",
    ),
    "comment_exclusion": (
        "a comment in this row seems to speak of leaving, a penalty or leave: reviewed where that decides",
        "ข้อคิดเห็นในแถวนี้น่าจะกล่าวถึงการพ้นจากราชการ โทษ หรือการลา: ให้ผู้ตรวจพิจารณาหากมีผลต่อการตัดสิน",
    ),
    "comment_unread": (
        "a comment in this row, which this format does not tell: reviewed where that decides",
        "ข้อคิดเห็นในแถวนี้อ่านไม่ได้จากไฟล์รูปแบบนี้: ให้ผู้ตรวจพิจารณาหากมีผลต่อการตัดสิน",
    ),
    "zero_pay": ("0 means not filled in: read as unknown", "0 หมายถึงยังไม่ได้กรอก: ถือว่าไม่ทราบค่า"),
    "implausible_pay": (
        "too low or too high for monthly pay at this level: read as unknown",
        "ต่ำหรือสูงเกินกว่าจะเป็นเงินเดือนของระดับนี้: ถือว่าไม่ทราบค่า",
    ),
    "unknown_nationality": (
        "unknown word for the nationality: read as unknown",
        "ไม่รู้จักคำที่ใช้บอกสัญชาติ: ถือว่าไม่ทราบ",
    ),
    "nationality_missing": (
        "nearly all other rows state the nationality: read as unknown, as the rest of the row may be missing, too",
        "แถวอื่นเกือบทั้งหมดระบุสัญชาติ: ถือว่าไม่ทราบ เพราะข้อมูลส่วนอื่นของแถวอาจหายไปด้วย",
    ),
    "not_an_officer": (
        "a title, total or signature, not an officer: skipped",
        "เป็นหัวเรื่อง ยอดรวม หรือลายมือชื่อ ไม่ใช่รายชื่อ: ข้าม",
    ),
    "repeated_header": ("the header again: skipped", "หัวตารางซ้ำ: ข้าม"),
    "placeholder_date": ("a date that programs write for none: unknown", "เป็นวันที่ที่โปรแกรมใช้แทนค่าว่าง: ถือว่าไม่มีวันที่"),
    "pay_in_words": ("words instead of a figure: unknown", "เป็นข้อความ ไม่ใช่ตัวเลข: ถือว่าไม่ทราบค่า"),
    "pay_fell": (
        "the pay five years ago is higher than the present pay: both are unknown, the columns may be exchanged",
        "เงินเดือนย้อนหลัง 5 ปีสูงกว่าเงินเดือนปัจจุบัน: ถือว่าไม่ทราบทั้งสองค่า อาจสลับคอลัมน์กัน",
    ),
    "merged_rows": (
        "the same officer as in row {row}; the decorations of both rows were put together",
        "เป็นคนเดียวกับแถว {row}; รวมเครื่องราชอิสริยาภรณ์ของทั้งสองแถว",
    ),
    "history_unknown": (
        "not found in the history, but the id or the name may be mistyped: the decorations are unknown",
        "ไม่พบในไฟล์ประวัติ แต่เลขประจำตัวหรือชื่ออาจพิมพ์ผิด: ถือว่าไม่ทราบเครื่องราชอิสริยาภรณ์",
    ),
    "decoration_missing": (
        "a day of receipt without its decoration: the decorations are unknown",
        "มีวันที่ได้รับแต่ไม่มีชั้นตรา: ถือว่าไม่ทราบเครื่องราชอิสริยาภรณ์",
    ),
    "history_doubted": (
        "a remark in the history seems to say that a decoration is not held: all of the officer's are unknown",
        "หมายเหตุในประวัติน่าจะหมายความว่าไม่ได้ครองชั้นตรานั้น: ถือว่าไม่ทราบเครื่องราชอิสริยาภรณ์ของผู้นี้",
    ),
    "history_given_back": (
        "a remark says that the decoration was given back: it counts as received",
        "หมายเหตุระบุว่าส่งคืนแล้ว: ถือว่าเคยได้รับพระราชทาน",
    ),
    "other_orders": (
        "a decoration of another order or a medal: known, and not counted",
        "เป็นเครื่องราชอิสริยาภรณ์ตระกูลอื่นหรือเหรียญ: รู้จัก และไม่นับ",
    ),
    "award_before_service": (
        "a decoration was received before the service began: check it",
        "ได้รับเครื่องราชอิสริยาภรณ์ก่อนเริ่มรับราชการ: โปรดตรวจสอบ",
    ),
    "ambiguous_level_code": (
        "M1 and M2 mean a director or an executive, depending on the code set: give the position type",
        "M1 และ M2 เป็นได้ทั้งอำนวยการและบริหาร: โปรดระบุประเภทตำแหน่ง",
    ),
}

REMARKS = {
    "hidden_sheet": ("{name}: the hidden sheet {sheet} was not read", "{name}: ไม่ได้อ่านแผ่นงานที่ซ่อนไว้ {sheet}"),
    "sheet_of_names": (
        "{name}: the sheet {sheet} has only ids and names and was not read",
        "{name}: แผ่นงาน {sheet} มีเพียงเลขประจำตัวและชื่อ จึงไม่ได้อ่าน",
    ),
    "history_sheet": (
        "{name}: the sheet {sheet} was read as the history of decorations",
        "{name}: อ่านแผ่นงาน {sheet} เป็นประวัติเครื่องราชอิสริยาภรณ์",
    ),
    "sheet_without_header": (
        "{name}: the sheet {sheet} has no known header and was not read",
        "{name}: แผ่นงาน {sheet} ไม่มีหัวตารางที่รู้จัก จึงไม่ได้อ่าน",
    ),
    "hidden_columns": (
        "hidden columns, which were read like the others: {names}",
        "คอลัมน์ที่ซ่อนไว้ซึ่งอ่านเหมือนคอลัมน์อื่น: {names}",
    ),
    "remembered_columns": (
        "columns that were read as in an earlier mapping: {names}",
        "คอลัมน์ที่อ่านตามการจับคู่ครั้งก่อน: {names_th}",
    ),
    "unknown_columns": ("unknown columns, which were not used: {names}", "คอลัมน์ที่ไม่รู้จักและไม่ได้ใช้: {names}"),
    "history_of_others": (
        "the history contains {count} people who are not among the good rows",
        "ไฟล์ประวัติมี {count} คนที่ไม่อยู่ในแถวที่อ่านได้",
    ),
}

REPAIRS = {
    "id_decimal": ("the decimals of a number were taken off", "ตัดทศนิยมของตัวเลขออก"),
    "id_zero_restored": (
        "the leading zero was put back, because the check digit fits then",
        "เติมเลขศูนย์นำหน้าคืน เพราะเลขตรวจสอบถูกต้อง",
    ),
    "id_marks_removed": (
        "other characters were taken off; the check digit fits",
        "ตัดอักขระอื่นออก; เลขตรวจสอบถูกต้อง",
    ),
    "date_from_serial": ("read as a spreadsheet's day number", "อ่านเป็นเลขลำดับวันของโปรแกรมตารางคำนวณ"),
    "date_month_first": ("read month first, like the whole column", "อ่านแบบเดือนนำหน้าทั้งคอลัมน์"),
    "date_compact": ("read as eight digits, like the whole column", "อ่านเป็นตัวเลขแปดหลักทั้งคอลัมน์"),
    "last_of_several": ("several dates: the last one counts", "มีหลายวันที่: ใช้วันที่ล่าสุด"),
    "id_of_above": ("the id of the line above, which this line continues", "ใช้เลขประจำตัวของบรรทัดก่อนหน้า"),
    "merged_cell": ("filled from a merged cell", "เติมจากช่องที่ผสานกัน"),
    "level_by_type": (
        "the position type decides which level this code means",
        "ใช้ประเภทตำแหน่งตัดสินความหมายของรหัสระดับ",
    ),
}
