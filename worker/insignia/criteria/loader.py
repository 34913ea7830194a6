"""Loads the criteria: the packaged file, or a file of the office. An invalid file is reported in one line."""

from functools import lru_cache
from importlib import resources
from pathlib import Path

from pydantic import ValidationError

from worker.insignia.criteria.model import Criteria
from worker.insignia.criteria.validation import find_faults
from worker.insignia.errors import CriteriaInvalid
from worker.insignia.messages import message


def load_criteria(path: Path | str | None = None) -> Criteria:
    """Return the packaged criteria, or those of a file. Raises CriteriaInvalid."""
    return _packaged() if path is None else _parse(_text_of(Path(path)), Path(path).name)


@lru_cache(maxsize=1)
def _packaged() -> Criteria:
    # Not at import, where nothing should be read; cached, as the packaged file does not change.
    return _parse(
        resources.files("worker.insignia.criteria").joinpath("criteria.json").read_text("utf-8"), "criteria.json"
    )


def _text_of(path: Path) -> str:
    try:
        return path.read_text("utf-8-sig")
    except UnicodeDecodeError:
        raise CriteriaInvalid(message("criteria_not_utf8", name=path.name)) from None
    except OSError as exc:
        raise CriteriaInvalid(message("criteria_unreadable", name=path.name, why=exc.strerror or exc)) from exc


def _parse(text: str, name: str) -> Criteria:
    try:
        criteria = Criteria.model_validate_json(text)
    except ValidationError as exc:
        raise CriteriaInvalid(message("criteria_invalid", name=name, why=_first_fault(exc))) from None
    for fault in find_faults(criteria):
        raise CriteriaInvalid(message("criteria_invalid", name=name, why=fault))
    return criteria.named(name)


def _first_fault(exc: ValidationError) -> str:
    first = exc.errors(include_url=False)[0]
    where = ".".join(str(part) for part in first["loc"])
    more = f" (and {exc.error_count() - 1} more)" if exc.error_count() > 1 else ""
    return f"{where}: {first['msg']}{more}" if where else f"{first['msg']}{more}"
