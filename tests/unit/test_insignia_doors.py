"""Worked cases and the same officers in other files: every format gives the decision of the case."""

from pathlib import Path
from typing import Any

import pytest

from tests.support.worked_cases import (
    ROUNDS,
    as_csv,
    as_json_lines,
    as_thai_csv,
    as_workbook,
    assert_as_expected,
    of_round,
    table,
)
from worker.insignia import evaluate_roster, result_row


@pytest.mark.parametrize("write", [as_csv, as_thai_csv, as_workbook, as_json_lines])
@pytest.mark.parametrize("round_be", ROUNDS)
def test_worked_cases_of_a_round_give_the_expected_decisions_in_every_format(
    tmp_path: Path, round_be: int, write: Any
) -> None:
    cases = of_round(round_be)
    path = tmp_path / "cases.dat"
    write(path, table(cases))
    evaluation = evaluate_roster(path, round_be)
    assert evaluation.bad_rows == 0, evaluation.bad_cells
    assert_as_expected(cases, map(result_row, evaluation.verdicts))
