"""The rules for royal decorations. A leaf: knows no queue and no socket.

from worker.insignia import evaluate_roster, write_results

evaluation = evaluate_roster("roster.csv", 2569, history="history.csv")
summary = write_results(evaluation, Path("results"))
"""

from worker.insignia.batch import Evaluation, evaluate_roster
from worker.insignia.faults import (
    BadCell,
    CriteriaInvalid,
    EvaluationCancelled,
    InsigniaError,
    Notice,
    ResultsUnwritable,
    RosterRejected,
    RosterUnreadable,
    RoundConfirmed,
    RoundInvalid,
)
from worker.insignia.folders import JobFolder
from worker.insignia.loading import load_criteria
from worker.insignia.register import REGISTER, RowPage, RowQuery, read_rows
from worker.insignia.report import row_of, write_bad_rows, write_csv, write_json, write_results
from worker.insignia.sample import copy_sample, write_sample
from worker.insignia.words import words_of

__all__ = [
    "REGISTER",
    "BadCell",
    "CriteriaInvalid",
    "Evaluation",
    "EvaluationCancelled",
    "InsigniaError",
    "JobFolder",
    "Notice",
    "ResultsUnwritable",
    "RosterRejected",
    "RosterUnreadable",
    "RoundConfirmed",
    "RoundInvalid",
    "RowPage",
    "RowQuery",
    "copy_sample",
    "evaluate_roster",
    "load_criteria",
    "read_rows",
    "row_of",
    "words_of",
    "write_bad_rows",
    "write_csv",
    "write_json",
    "write_results",
    "write_sample",
]
