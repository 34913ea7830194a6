"""A program written by hand for the sample roster alone, in columns from the CSV files to the results.

    python -m bench.insignia_columns [--same] ROSTER HISTORY FOLDER

The yardstick of bench.insignia. It understands the spellings of the sample and no others, reports nothing about them,
and writes decisions without ids, explanations or an index. That is less than the product does.

With `--same`, its results are those of the product for every row that it can read: ids, next rounds, conditions, Thai
labels and the index. Only reading and joining are by hand then. The product decides and writes in columns, which a
program by hand would do with the same expressions.
"""

import sys
from pathlib import Path

import polars as pl

from worker.insignia.columnar.evaluator import Patterns, decide_columns
from worker.insignia.columnar.frame import DEFAULTS, HELD, PLACE, PLAIN, AwardList, OfficerColumns
from worker.insignia.criteria.identity import canonical_form
from worker.insignia.criteria.loader import load_criteria
from worker.insignia.criteria.model import Decoration, ServiceMedal
from worker.insignia.evaluation import Evaluation
from worker.insignia.results.writer import write_results
from worker.insignia.roster.officer import ABOUT, Award, Officer
from worker.insignia.rules.compiler import compile_rules
from worker.insignia.rules.decision import Verdict
from worker.insignia.rules.evaluate import evaluate
from worker.insignia.rules.ruleset import Rules

_MONTHS = ["ม.ค.", "ก.พ.", "มี.ค.", "เม.ย.", "พ.ค.", "มิ.ย.", "ก.ค.", "ส.ค.", "ก.ย.", "ต.ค.", "พ.ย.", "ธ.ค."]
_THAI = dict(zip("๐๑๒๓๔๕๖๗๘๙", "0123456789", strict=True)) | {
    f" {name} ": f"/{n}/" for n, name in enumerate(_MONTHS, 1)
}
_WORDS = {
    "employee_group": {
        "ข้าราชการกรุงเทพมหานครสามัญ": "civil_servant",
        "ลูกจ้างประจำ": "permanent_employee",
        "พนักงานราชการ": "government_employee",
    },
    "position_type": {"ทั่วไป": "general", "วิชาการ": "academic", "อำนวยการ": "director", "บริหาร": "executive"},
    "level": {
        "ปฏิบัติงาน": "O1", "ชำนาญงาน": "O2", "อาวุโส": "O3", "ทักษะพิเศษ": "O4", "ปฏิบัติการ": "K1", "ชำนาญการ": "K2",
        "ชำนาญการพิเศษ": "K3", "เชี่ยวชาญ": "K4", "ทรงคุณวุฒิ": "K5",
    },
}  # fmt: skip
_DATES = ("birth_date", "service_start", "level_start", "left_service", "resigned", "returned_to_service")
_MONEY = ("salary", "salary_5y_ago", "position_allowance")
_SHOWN = ("decision", "award", "abbr_th", "step", "reason", "next_award", "confidence")

_COLUMNS: dict[str, pl.DataType] = {**PLAIN, "discipline": pl.String(), HELD: pl.UInt32()}


def date_of(name: str) -> pl.Expr:
    text = pl.col(name).str.replace_many(_THAI)
    parts = text.str.extract_groups(r"^(\d{1,2})/(\d{1,2})/(\d{4})$").struct
    slashed = pl.concat_str(
        parts.field("3").cast(pl.Int32) - 543, parts.field("2"), parts.field("1"), separator="-"
    ).str.to_date("%Y-%m-%d", strict=False)
    return pl.coalesce(text.str.to_date("%Y-%m-%d", strict=False), slashed)


def read_officers(path: Path) -> pl.DataFrame:
    """Return the officers whose cells can be read."""
    texts = pl.read_csv(path, infer_schema=False)
    level = pl.col("level").replace(_WORDS["level"])
    is_director = pl.col("position_type") == "director"
    read = texts.with_columns(
        pl.col("person_id").str.replace_all("-", "", literal=True),
        *(date_of(name).alias(name) for name in _DATES),
        *(
            pl.col(name).str.replace_many(_THAI).str.replace_all(",", "").cast(pl.Float64, strict=False)
            for name in _MONEY
        ),
        *(pl.col(name).replace(_WORDS[name]) for name in ("employee_group", "position_type")),
    ).with_columns(
        pl.when(level == "ต้น").then(pl.when(is_director).then(pl.lit("D1")).otherwise(pl.lit("M1")))
        .when(level == "สูง").then(pl.when(is_director).then(pl.lit("D2")).otherwise(pl.lit("M2")))
        .otherwise(level).alias("level"),
        *(pl.col(name) == "true" for name in ("decoration_recalled", "imprisonment")),
    )  # fmt: skip
    is_good = pl.all_horizontal(
        pl.col("person_id").is_unique(),
        pl.col("level") != "ชำนาญกาน",
        *(pl.col(name).is_not_null() | texts[name].is_null() for name in (*_DATES, *_MONEY)),
    )
    return read.filter(is_good).with_columns(
        pl.int_range(pl.len(), dtype=pl.UInt32).alias(PLACE),
        *(pl.col(name).fill_null(False) for name in ("decoration_recalled", "imprisonment")),
        pl.concat_str(pl.lit('["'), "discipline", pl.lit('"]')).alias("discipline"),
        pl.lit(False).alias("last_only"),
    )


def read_awards(path: Path, officers: pl.DataFrame) -> tuple[pl.DataFrame, list[AwardList]]:
    """Return the officers with the numbers of their lists of decorations, and these lists."""
    criteria, codes = load_criteria(), dict[str, str]()
    items: list[Decoration | ServiceMedal] = [*criteria.decorations, *criteria.service_medals]
    for item in items:
        for word in (item.code, item.abbr_th, item.abbr_th.replace(".", ""), item.name_th):
            codes[word] = item.code
        codes[item.name_th.replace("มงกุฎ", "มงกุฏ").replace("จัตุรถาภรณ์", "จตุรถาภรณ์")] = item.code
    lines = pl.read_csv(path, infer_schema=False).with_columns(
        pl.col("decoration").replace(codes).alias("code"), date_of("received").alias("received")
    )
    swapped = pl.date(pl.col("received").dt.year(), 12, 5)
    is_swapped = (pl.col("received").dt.month() == 5) & (pl.col("received").dt.day() == 12)
    lines = lines.with_columns(pl.when(is_swapped).then(swapped).otherwise("received").alias("received"))
    kinds = lines.select("code", "received").unique(maintain_order=True).with_row_index("kind")
    numbered = lines.join(kinds, on=["code", "received"], nulls_equal=True, how="left", maintain_order="left")
    own = numbered.group_by("person_id").agg(pl.col("kind").cast(pl.String).str.join(" ").alias("kinds"))
    held = officers.join(own, on="person_id", how="left", maintain_order="left").with_columns(
        (pl.col("kinds").fill_null("").rank("dense") - 1).alias(HELD)
    )
    awards = [Award(code, day) for code, day in kinds.select("code", "received").iter_rows()]
    texts = held.select(HELD, pl.col("kinds").fill_null("")).unique().sort(HELD)["kinds"]
    return held.drop("kinds"), [tuple(awards[int(kind)] for kind in text.split()) for text in texts]


def decide(officers: pl.DataFrame, lists: list[AwardList], rules: Rules) -> pl.DataFrame:
    """Return what is shown of both decisions for each officer, in order."""
    places: list[int] = []
    rows: list[tuple[str | None, ...]] = []
    patterns = Patterns(rules, lists)
    for _, groups in patterns.of(patterns.record(officers)):
        for members in groups.to_list():
            row = officers.row(members[0], named=True)
            verdict = _decide_one(row, lists[row[HELD]], rules)
            shown = [getattr(one, name) for one in (verdict.class_, verdict.medal) for name in _SHOWN]
            missing = "; ".join(dict.fromkeys((*verdict.class_.missing, *verdict.medal.missing)))
            places += members
            rows += [(*shown, missing)] * len(members)
    names = [f"{kind}.{name}" for kind in ("class", "medal") for name in _SHOWN]
    schema = dict.fromkeys((*names, "missing"), pl.String)
    found = pl.DataFrame(rows, schema=schema, orient="row").with_columns(pl.Series(PLACE, places, dtype=pl.UInt32))
    return found.sort(PLACE)


def _decide_one(row: dict[str, object], past: AwardList, rules: Rules) -> Verdict:
    values = {name: row[name] for name in Officer.__slots__ if name in row and name != "discipline"}
    given = {name: value for name, value in values.items() if value is not None}
    discipline = ("x",) if row["discipline"] else ()
    return evaluate(Officer(**given, decorations=past, discipline=discipline), rules)  # type: ignore[arg-type] # columns of those types


def write_decisions(officers: pl.DataFrame, lists: list[AwardList], rules: Rules, folder: Path) -> None:
    """Write what both decisions say, and who the officer is."""
    about = officers.select("person_id", "title", "first_name", "last_name", "organization", PLACE)
    results = about.join(decide(officers, lists, rules), on=PLACE, maintain_order="left").drop(PLACE)
    folder.mkdir()
    results.write_csv(folder / "results.csv", include_bom=True)
    results.write_ndjson(folder / "results.json")


def write_same(officers: pl.DataFrame, lists: list[AwardList], rules: Rules, folder: Path) -> None:
    """Write what the product writes, except for the cells that it could not read."""
    named = officers.rename({"organization": "office"})
    absent = (pl.lit(DEFAULTS[name]).alias(name) for name in PLAIN if name not in named.columns)
    filled = named.with_columns(absent).with_columns(pl.col(*ABOUT).fill_null(""))
    columns = filled.select(*(pl.col(name).cast(dtype) for name, dtype in _COLUMNS.items()))
    decided = decide_columns(OfficerColumns(columns, lists), rules, lambda _: None)
    form = canonical_form(load_criteria())
    evaluation = Evaluation(
        rules, decided, bad_cells=(), bad_rows=0, notices=(), remarks=(), criteria_form=form, columns=decided
    )
    write_results(evaluation, folder, row_index=True)


def main() -> None:
    arguments = sys.argv[1:]
    write = write_same if arguments[0] == "--same" else write_decisions
    roster, history, folder = map(Path, arguments[-3:])
    rules = compile_rules(load_criteria(), 2569)
    officers, lists = read_awards(history, read_officers(roster))
    write(officers, lists, rules, folder)


if __name__ == "__main__":
    main()
