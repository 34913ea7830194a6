"""Reads the criteria: the packaged file, or one of the office's own. A broken file is one clear line."""

from functools import lru_cache
from importlib import resources
from pathlib import Path

from pydantic import ValidationError

from worker.insignia.consistency import faults_of
from worker.insignia.criteria import Criteria
from worker.insignia.faults import CriteriaInvalid


def load_criteria(path: Path | str | None = None) -> Criteria:
    """The packaged criteria, or those of a file. Raises CriteriaInvalid."""
    return _packaged() if path is None else _parse(_text_of(Path(path)), Path(path).name)


@lru_cache(maxsize=1)
def _packaged() -> Criteria:
    # Not at import: nothing is read before somebody asks. Cached: the package's own file does not change.
    return _parse(resources.files("worker.insignia").joinpath("criteria.json").read_text("utf-8"), "criteria.json")


def _text_of(path: Path) -> str:
    try:
        return path.read_text("utf-8-sig")
    except UnicodeDecodeError:
        raise CriteriaInvalid(f"{path.name}: not UTF-8 text; save it as UTF-8") from None
    except OSError as exc:
        raise CriteriaInvalid(
            f"{path.name}: cannot be read ({exc.strerror or exc}); check Insignia:CriteriaPath"
        ) from exc


def _parse(text: str, name: str) -> Criteria:
    try:
        criteria = Criteria.model_validate_json(text)
    except ValidationError as exc:
        raise CriteriaInvalid(f"{name}: {_first_fault(exc)}; correct the file or use the packaged one") from None
    for fault in faults_of(criteria):
        raise CriteriaInvalid(f"{name}: {fault}; correct the file or use the packaged one")
    return criteria


def _first_fault(exc: ValidationError) -> str:
    first = exc.errors(include_url=False)[0]
    where = ".".join(str(part) for part in first["loc"])
    more = f" (and {exc.error_count() - 1} more)" if exc.error_count() > 1 else ""
    return f"{where}: {first['msg']}{more}" if where else f"{first['msg']}{more}"
