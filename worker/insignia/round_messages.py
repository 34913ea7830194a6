"""The texts about rounds, criteria, paths and results, in English and Thai, by code."""

ROUNDS = {
    "round_confirmed": (
        "round {round} is confirmed: its results stay as they are; remove {path} to open it again",
        "รอบปี {round} ยืนยันผลแล้ว ผลจะไม่เปลี่ยนแปลง: หากต้องการเปิดรอบอีกครั้ง ให้ผู้ดูแลระบบลบ {path}",
    ),
    "round_common_era": (
        "round {round} looks like a common-era year: give the Buddhist year, {meant}",
        "รอบปี {round} น่าจะเป็นปี ค.ศ.: โปรดระบุปี พ.ศ. {meant}",
    ),
    "round_out_of_range": (
        "round {round} is not a Buddhist year between {first} and {last}",
        "รอบปี {round} ไม่ใช่ปี พ.ศ. ระหว่าง {first} ถึง {last}",
    ),
    "sequence_unknown": (
        "the sequence is unknown: give highest_satisfied or strict_next",
        "ไม่รู้จักวิธีเลือกชั้น: โปรดระบุ highest_satisfied หรือ strict_next",
    ),
    "parameter_unknown": (
        "parameter {name!r} is unknown; known parameters: {known}",
        "ไม่รู้จักตัวเลขเกณฑ์ {name!r} ที่รู้จักคือ {known}",
    ),
    "parameter_negative": (
        "parameter {name}: must be a number of at least 0",
        "ตัวเลขเกณฑ์ {name}: ต้องเป็นจำนวนที่ไม่ต่ำกว่า 0",
    ),
    "parameter_years": (
        "parameter {name}: must be whole years, at most 100",
        "ตัวเลขเกณฑ์ {name}: ต้องเป็นจำนวนปีเต็ม ไม่เกิน 100",
    ),
    "criteria_not_utf8": (
        "{name}: not UTF-8 text; save it as UTF-8",
        "{name}: ไฟล์หลักเกณฑ์ไม่ใช่ข้อความ UTF-8: โปรดบันทึกเป็น UTF-8",
    ),
    "criteria_unreadable": (
        "{name}: cannot be read ({why}); check Insignia:CriteriaPath",
        "{name}: อ่านไฟล์หลักเกณฑ์ไม่ได้: ให้ผู้ดูแลระบบตรวจ Insignia:CriteriaPath",
    ),
    "criteria_invalid": (
        "{name}: {why}; correct the file or use the packaged one",
        "{name}: ไฟล์หลักเกณฑ์ไม่ถูกต้อง ({why}): ให้ผู้ดูแลระบบแก้ไฟล์หรือใช้ไฟล์ที่มากับโปรแกรม",
    ),
    "evaluation_cancelled": (
        "the evaluation was cancelled; nothing was written",
        "ยกเลิกการพิจารณาแล้ว ไม่มีการบันทึกผล",
    ),
    "results_unwritable": (
        "{name} cannot be written: {why}",
        "บันทึกผล {name} ไม่ได้: ให้ผู้ดูแลระบบตรวจพื้นที่ว่างและสิทธิ์ของดิสก์",
    ),
    "too_many_for_workbook": (
        "a workbook holds at most {most} officers: use CSV",
        "ไฟล์ Excel เก็บได้ไม่เกิน {most} คน: โปรดใช้ CSV",
    ),
    "path_not_relative": (
        "the path must be relative to Insignia:DataDirectory",
        "ที่อยู่ไฟล์ต้องอยู่ภายใต้ Insignia:DataDirectory",
    ),
    "path_broken": (
        "the path cannot be followed: put the file under Insignia:DataDirectory",
        "เปิดตามที่อยู่ไฟล์ไม่ได้: โปรดวางไฟล์ไว้ใต้ Insignia:DataDirectory",
    ),
    "path_outside": (
        "the path leaves Insignia:DataDirectory: put the file there",
        "ที่อยู่ไฟล์อยู่นอก Insignia:DataDirectory: โปรดวางไฟล์ไว้ที่นั่น",
    ),
    "path_missing": (
        "there is no file {name} under Insignia:DataDirectory",
        "ไม่พบไฟล์ {name} ใต้ Insignia:DataDirectory",
    ),
}
