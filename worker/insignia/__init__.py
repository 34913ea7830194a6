"""The rules for royal decorations, usable as a library: they depend on nothing else in the worker.

from worker.insignia import evaluate_roster, write_results

evaluation = evaluate_roster("roster.csv", 2569, history="history.csv")
summary = write_results(evaluation, Path("results"))
"""

from worker.insignia.criteria.labels import labels_of
from worker.insignia.criteria.loader import load_criteria
from worker.insignia.errors import (
    BadCell,
    CriteriaInvalid,
    EvaluationCancelled,
    InsigniaError,
    InvalidPath,
    Notice,
    Repair,
    ResultsUnwritable,
    RosterRejected,
    RosterUnreadable,
    RoundConfirmed,
    RoundInvalid,
)
from worker.insignia.evaluation import Evaluation, evaluate_roster
from worker.insignia.results.folders import JobFolder, owner_folder
from worker.insignia.results.row_index import ROW_INDEX, RowPage, RowQuery, read_rows
from worker.insignia.results.writer import result_row, write_bad_rows, write_csv, write_json, write_results
from worker.insignia.roster.files import RosterFile
from worker.insignia.sample.roster_writer import copy_sample, write_sample

__all__ = [
    "ROW_INDEX",
    "BadCell",
    "CriteriaInvalid",
    "Evaluation",
    "EvaluationCancelled",
    "InsigniaError",
    "InvalidPath",
    "JobFolder",
    "Notice",
    "Repair",
    "ResultsUnwritable",
    "RosterFile",
    "RosterRejected",
    "RosterUnreadable",
    "RoundConfirmed",
    "RoundInvalid",
    "RowPage",
    "RowQuery",
    "copy_sample",
    "evaluate_roster",
    "labels_of",
    "load_criteria",
    "owner_folder",
    "read_rows",
    "result_row",
    "write_bad_rows",
    "write_csv",
    "write_json",
    "write_results",
    "write_sample",
]
