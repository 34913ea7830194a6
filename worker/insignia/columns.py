"""The columns of a roster and of a history file: their names, other names for them, and which must be there."""

import re

from worker.insignia.cells import tidy
from worker.insignia.faults import RosterUnreadable
from worker.insignia.table import Table

REQUIRED = ("person_id", "employee_group", "level", "birth_date", "service_start", "level_start", "salary")
"""Without a column, nobody can tell a slip in the header from a value that is not known."""
OPTIONAL = (
    "position_type",
    "salary_5y_ago",
    "position_allowance",
    "decorations",
    "last_decoration",
    "last_decoration_date",
    "nationality",
    "decoration_recalled",
    "imprisonment",
    "discipline",
    "on_leave",
    "left_service",
    "resigned",
    "returned_to_service",
)
HISTORY = ("person_id", "decoration", "received")

# Names of the SOC export of DPIS, and Thai headings.
_ALIASES = {
    "person_id": "id_card idcard citizen_id personid pid เลขประจำตัวประชาชน เลขบัตรประชาชน",
    "employee_group": "personal_type group ประเภทบุคลากร กลุ่มบุคลากร",
    "position_type": "ประเภทตำแหน่ง",
    "level": "pos_lev ระดับ ระดับตำแหน่ง",
    "birth_date": "birthdate วันเกิด วันเดือนปีเกิด",
    "service_start": "beg_date วันเริ่มรับราชการ วันบรรจุ",
    "level_start": "beg_pos_date วันเข้าสู่ระดับ",
    "salary": "wage เงินเดือน ค่าจ้าง",
    "salary_5y_ago": "salary5y เงินย้อนหลัง_5_ปี เงินเดือนย้อนหลัง_5_ปี",
    "position_allowance": "pos_amt เงินประจำตำแหน่ง",
    "decorations": "เครื่องราชอิสริยาภรณ์",
    "last_decoration": "l_ins_code",
    "last_decoration_date": "l_ins_date",
    "nationality": "สัญชาติ",
    "discipline": "โทษทางวินัย",
    "left_service": "วันออกจากราชการ",
    "resigned": "resign_date วันลาออก",
    "returned_to_service": "return_date วันกลับเข้ารับราชการ",
    "decoration": "code ins_code ชั้นตรา",
    "received": "ins_date date วันที่ได้รับ",
}
_CARRIED = frozenset(
    """no seq order name title prefix first_name last_name fullname full_name sex gender organization department
    division position remark note notes abbr_th dep_name org_name tit_name rank_name fname lname sex cc pos_code
    pos_name beg_pos_name beg_c beg_c_date beg_bef_c_date oldf_name oldl_name status_exp
    ลำดับ ที่ คำนำหน้า ชื่อ นามสกุล ชื่อ-สกุล ชื่อ-นามสกุล เพศ หน่วยงาน สังกัด ตำแหน่ง หมายเหตุ
    """.split()  # noqa: SIM905 -- a page of words reads better than a page of quotes
)
"""Known to stand in rosters and of no use here: skipped without a word."""


def field_of(header: str) -> str:
    """The field a heading names: case, blanks and hyphens play no part."""
    name = re.sub(r"[\s-]+", "_", tidy(header).lower()) if header.isascii() else tidy(header).replace(" ", "_")
    return _BY_ALIAS.get(name, name)


_BY_ALIAS = {alias: name for name, aliases in _ALIASES.items() for alias in aliases.split()}


def roster_columns(table: Table, *, has_history: bool) -> dict[str, int]:
    """Field to column number. Raises RosterUnreadable where one is missing that nobody may leave out."""
    found = _found(table, (*REQUIRED, *OPTIONAL))
    missing = [name for name in (REQUIRED[:1] if table.sparse else REQUIRED) if name not in found]
    if "last_decoration" in found and "last_decoration_date" not in found:
        missing.append("last_decoration_date")
    if missing:
        raise RosterUnreadable(_missing(table, missing))
    if not has_history and not {"decorations", "last_decoration"} & set(found):
        # A table that says nothing of decorations does not say that nobody has any.
        raise RosterUnreadable(
            f"{table.name} says nothing of decorations held: add a column decorations, or last_decoration and "
            "last_decoration_date, or give a history file (person_id, decoration, received)"
        )
    return found


def strange_columns(table: Table, found: dict[str, int]) -> list[str]:
    """The headings that nobody knows; names, remarks and the like are carried in silence."""
    known = set(found.values())
    headers = [header for index, header in enumerate(table.columns) if index not in known]
    return [header for header in headers if header and field_of(header).lower() not in _CARRIED]


def history_columns(table: Table) -> dict[str, int]:
    """Field to column number. Raises RosterUnreadable."""
    found = _found(table, HISTORY)
    missing = [name for name in HISTORY if name not in found]
    if missing:
        raise RosterUnreadable(_missing(table, missing))
    return found


def _found(table: Table, fields: tuple[str, ...]) -> dict[str, int]:
    if table.sparse and not table.expected:
        raise RosterUnreadable(f"{table.name} holds nobody: the list is empty")
    found: dict[str, int] = {}
    for index, header in enumerate(table.columns):
        name = field_of(header)
        if name in fields:
            if name in found:
                raise RosterUnreadable(f"{table.name}: two columns mean {name}: leave one of them out")
            found[name] = index
    if not found:
        place = "its objects have" if table.sparse else "its first line names"
        raise RosterUnreadable(f"{table.name}: {place} no known column; there must be {', '.join(fields[:7])}")
    return found


def _missing(table: Table, missing: list[str]) -> str:
    word = "column" if len(missing) == 1 else "columns"
    return f"{table.name}: missing {word}: {', '.join(missing)}; add them, empty where nothing is known"
