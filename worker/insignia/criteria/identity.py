"""Which criteria a decision rests on: file, version and hash."""

import hashlib
from collections import deque
from dataclasses import dataclass

import orjson

from worker.insignia.criteria.model import Criteria


@dataclass(frozen=True, slots=True)
class CriteriaIdentity:
    """Identifies criteria in results."""

    file: str
    """Without its folder; empty if they were not read from a file."""
    version: str
    """As the file states it; empty if it states none."""
    sha256: str
    """Of the canonical form, which results keep next to them as `criteria.json`."""

    @property
    def short(self) -> str:
        """Return one line for a cell: file, version and the first 16 digits of the hash."""
        return " ".join(part for part in (self.file, self.version, f"sha256:{self.sha256[:16]}") if part)

    def as_json(self) -> dict[str, str]:
        """Return its form in results."""
        return {"file": self.file, "version": self.version, "sha256": self.sha256}


UNKNOWN = CriteriaIdentity("", "", "")


def canonical_form(criteria: Criteria) -> bytes:
    """Return the same bytes for the same contents, however the file is laid out; load_criteria can read them."""
    contents = criteria.model_dump(mode="json", by_alias=True, exclude_unset=True)
    return orjson.dumps(contents, option=orjson.OPT_SORT_KEYS)


def identify(criteria: Criteria) -> CriteriaIdentity:
    """Return what identifies the criteria in results."""
    for known, identity in list(_RECENT):
        if known is criteria:
            return identity
    digest = hashlib.sha256(canonical_form(criteria)).hexdigest()
    identity = CriteriaIdentity(criteria.file_name, criteria.version, digest)
    _RECENT.append((criteria, identity))
    return identity


_RECENT: deque[tuple[Criteria, CriteriaIdentity]] = deque(maxlen=4)
"""By object: the canonical form takes milliseconds, and one file is compiled for many rounds."""
