"""Writes rosters of made-up officers, as untidy as real ones, for demos, tests and load. Same seed, same bytes."""

import csv
from contextlib import ExitStack
from datetime import date
from importlib import resources
from pathlib import Path
from random import Random

from worker.insignia.buddhist_year import BE_OFFSET
from worker.insignia.criteria.loader import load_criteria
from worker.insignia.criteria.model import Criteria, Decoration, ServiceMedal
from worker.insignia.roster.officer import Award
from worker.insignia.sample.officers import SampleOfficer, make_officer, person_id, pick

ROSTER, HISTORY = "roster.csv", "history.csv"
_FOLDER = "sample_data"
_COLUMNS = (
    "person_id", "title", "first_name", "last_name", "organization", "employee_group", "position_type", "level",
    "birth_date", "service_start", "level_start", "salary", "salary_5y_ago", "position_allowance", "nationality",
    "decoration_recalled", "imprisonment", "discipline", "on_leave", "left_service", "resigned", "returned_to_service",
)  # fmt: skip
_HISTORY_COLUMNS = ("person_id", "decoration", "received")
_BAD_EVERY = 75
"""One row in this many cannot be read: well under the limit, whatever the count."""


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


_MEN = _words("สมชาย วิชัย ธนากร ณัฐพล ปรีชา อนุชา กิตติ ภูวดล ศุภชัย เอกชัย วรพจน์ ชัยวัฒน์ พงศกร ธีรภัทร สุรศักดิ์ มานพ")
_WOMEN = _words("สมหญิง กมลวรรณ พิมพ์ชนก สุดารัตน์ อรทัย วรรณา จันทร์เพ็ญ ปิยะดา ศิริพร นภัสสร รัตนา มาลี ชลธิชา")
_HEADS = _words("ทองดี ศรีสุข บุญมา แก้วใส วงศ์งาม ใจดี พูลทรัพย์ แสงทอง รุ่งเรือง จันทร์ศรี เพชรงาม ดวงแก้ว สุขเกษม มั่งมี")
_TAILS = _words("สกุล วัฒนา เจริญ พิพัฒน์ กุล ไพศาล โชติ ประเสริฐ มงคล รักษ์")
_OFFICES = _words("สำนักการศึกษา สำนักการโยธา สำนักอนามัย สำนักการคลัง สำนักเทศกิจ สำนักงานเขตพระนคร สำนักงานเขตดุสิต")
_GROUPS_TH = {
    "civil_servant": "ข้าราชการกรุงเทพมหานครสามัญ",
    "permanent_employee": "ลูกจ้างประจำ",
    "government_employee": "พนักงานราชการ",
}
_TYPES_TH = {"general": "ทั่วไป", "academic": "วิชาการ", "director": "อำนวยการ", "executive": "บริหาร", "": ""}
_LEVELS_TH = {
    "O1": "ปฏิบัติงาน", "O2": "ชำนาญงาน", "O3": "อาวุโส", "O4": "ทักษะพิเศษ", "K1": "ปฏิบัติการ", "K2": "ชำนาญการ",
    "K3": "ชำนาญการพิเศษ", "K4": "เชี่ยวชาญ", "K5": "ทรงคุณวุฒิ", "D1": "ต้น", "D2": "สูง", "M1": "ต้น", "M2": "สูง",
}  # fmt: skip
_THAI_DIGITS = str.maketrans("0123456789", "๐๑๒๓๔๕๖๗๘๙")


def copy_sample(folder: Path) -> tuple[Path, Path]:
    """Copy the packaged roster of 2,000 officers and its history to `folder`; return their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    packaged = resources.files("worker.insignia.sample").joinpath(_FOLDER)
    for name in (ROSTER, HISTORY):
        (folder / name).write_bytes(packaged.joinpath(name).read_bytes())
    return folder / ROSTER, folder / HISTORY


def write_sample(path: Path, count: int = 2000, seed: int = 2569, *, history: Path | None = None) -> None:
    """Write a roster of `count` made-up officers; decorations go to `history`, or else to a column of the roster."""
    criteria = load_criteria()
    rng = Random(seed)
    with ExitStack() as files:
        roster = csv.writer(files.enter_context(path.open("w", encoding="utf-8-sig", newline="")), lineterminator="\n")
        roster.writerow(_COLUMNS if history else (*_COLUMNS, "decorations"))
        past = None
        if history is not None:
            file = files.enter_context(history.open("w", encoding="utf-8-sig", newline=""))
            past = csv.writer(file, lineterminator="\n")
            past.writerow(_HISTORY_COLUMNS)
        for index in range(count):
            officer = make_officer(rng, index, seed)
            row, awards = _as_written(rng, officer, index, seed, criteria)
            if past is None:
                roster.writerow((*row, "; ".join(f"{word} {day}" for word, day in awards)))
            else:
                roster.writerow(row)
                past.writerows((officer.person_id, word, day) for word, day in awards)


def _as_written(
    rng: Random, officer: SampleOfficer, index: int, seed: int, criteria: Criteria
) -> tuple[list[str], list[tuple[str, str]]]:
    """Return the cells as an office might have typed them, and (decoration, received) of each award."""
    style = WritingStyle(rng, criteria)
    row = style.row(officer)
    if index % _BAD_EVERY == _BAD_EVERY - 1:
        _break_cell(row, index // _BAD_EVERY, id_before=person_id(index - 1, seed))
    return row, [style.award(award) for award in officer.awards]


def _break_cell(row: list[str], kind: int, *, id_before: str) -> None:
    """Replace one cell by text that cannot be read."""
    column, text = (
        ("birth_date", "31/02/2530"),
        ("level", "ชำนาญกาน"),
        ("salary", "สองหมื่น"),
        ("service_start", "1/10/49"),
        ("person_id", id_before),
    )[kind % 5]
    row[_COLUMNS.index(column)] = text


class WritingStyle:
    """One clerk's way of writing, the same for all cells of a row."""

    def __init__(self, rng: Random, criteria: Criteria) -> None:
        self._rng = rng
        self._dates = pick(rng, ("iso", "iso", "iso", "iso", "slashes", "slashes", "slashes", "thai", "month", "iso"))
        self._thai_words = rng.random() < 0.3
        self._hyphens = rng.random() < 0.1
        self._money = pick(rng, ("plain", "plain", "plain", "commas", "thai"))
        self._names: dict[str, Decoration | ServiceMedal] = {item.code: item for item in criteria.decorations}
        self._names |= {item.code: item for item in criteria.service_medals}

    def row(self, officer: SampleOfficer) -> list[str]:
        rng, level = self._rng, officer.level
        woman = rng.random() < 0.55
        return [
            self._id(officer.person_id),
            pick(rng, ("นาง", "นางสาว")) if woman else "นาย",
            pick(rng, _WOMEN if woman else _MEN),
            pick(rng, _HEADS) + pick(rng, _TAILS),
            pick(rng, _OFFICES),
            _GROUPS_TH[level.group] if self._thai_words else level.group,
            _TYPES_TH[level.position_type] if self._thai_words else level.position_type,
            _LEVELS_TH.get(level.level, level.level) if self._thai_words else level.level,
            self._date(officer.birth_date),
            self._date(officer.service_start),
            self._date(officer.level_start),
            self._baht(officer.salary),
            self._baht(officer.salary_5y_ago),
            self._baht(officer.position_allowance),
            officer.nationality,
            "true" if officer.decoration_recalled else "",
            "true" if officer.imprisonment else "",
            officer.discipline,
            officer.on_leave,
            self._date(officer.left_service),
            self._date(officer.resigned),
            self._date(officer.returned_to_service),
        ]

    def award(self, award: Award) -> tuple[str, str]:
        """Return the decoration as code, abbreviation or name, sometimes misspelt, and the day of receipt."""
        item, chance = self._names[award.code], self._rng.random()
        if chance < 0.03:
            word = item.name_th.replace("มงกุฎ", "มงกุฏ").replace("จัตุรถาภรณ์", "จตุรถาภรณ์")
        elif chance < 0.3:
            word = item.abbr_th.replace(".", "")
        else:
            word = item.abbr_th if chance < 0.7 else item.code
        return word, self._received(award.received)

    def _received(self, day: date | None) -> str:
        chance = self._rng.random()
        if day is not None and day.month == 12 and chance < 0.05:
            return f"12/05/{day.year + BE_OFFSET}"
        if day is not None and chance > 0.99:
            return self._date(date(day.year, day.month, day.day + 1))
        return self._date(day)

    def _id(self, plain: str) -> str:
        return f"{plain[0]}-{plain[1:5]}-{plain[5:10]}-{plain[10:12]}-{plain[12]}" if self._hyphens else plain

    def _date(self, day: date | None) -> str:
        if day is None:
            return ""
        buddhist = day.year + BE_OFFSET
        match self._dates:
            case "slashes":
                return f"{day.day}/{day.month}/{buddhist}"
            case "thai":
                return f"{day.day}/{day.month}/{buddhist}".translate(_THAI_DIGITS)
            case "month":
                return f"{day.day} {_MONTHS[day.month - 1]} {buddhist}"
            case _:
                return day.isoformat()

    def _baht(self, amount: int | None) -> str:
        if amount is None:
            return ""
        match self._money:
            case "commas":
                return f"{amount:,.2f}"
            case "thai":
                return f"{amount:,}".translate(_THAI_DIGITS)
            case _:
                return str(amount)


_MONTHS = _words("ม.ค. ก.พ. มี.ค. เม.ย. พ.ค. มิ.ย. ก.ค. ส.ค. ก.ย. ต.ค. พ.ย. ธ.ค.")
