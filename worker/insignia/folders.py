"""Where a round's results lie: {owner}/{round}/{job}/attempt-{n}, and which of them are superseded.

Knows nothing of what is in them. The owner is the organization, or the user where a job names none.
"""

import hashlib
import re
import shutil
import unicodedata
from dataclasses import dataclass
from pathlib import Path
from typing import Self
from uuid import UUID

from worker.insignia.faults import RoundConfirmed

CONFIRMED = "CONFIRMED"
"""A file of this name in a round's folder closes the round, as confirming does in DPIS."""
_ATTEMPT = re.compile(r"\.?attempt-\d+(\.\w+)?")
_LOOKS_HASHED = re.compile(r"-[0-9a-f]{8}$")
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d|confirmed)(\..*)?", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class JobFolder:
    """The folders of one attempt."""

    root: Path
    round_folder: Path
    job: Path
    attempt: Path

    @classmethod
    def of(cls, root: Path, *, owner: str, round_be: int, job_id: str, attempt: int) -> Self:
        round_folder = root / segment(owner) / str(round_be)
        job = round_folder / segment(job_id)
        return cls(root, round_folder, job, _free(job, f"attempt-{attempt}"))

    @classmethod
    def written(cls, root: Path, attempt: Path) -> Self:
        """The folders around an attempt's results that were written."""
        return cls(root, attempt.parent.parent, attempt.parent, attempt)

    def refuse_if_confirmed(self) -> None:
        """Raises RoundConfirmed once somebody has confirmed the round."""
        if (self.round_folder / CONFIRMED).exists():
            raise RoundConfirmed(
                f"round {self.round_folder.name} is confirmed: its results stay as they are; "
                f"remove {self.told(self.round_folder / CONFIRMED)} to open it again"
            )

    def remove_superseded(self) -> None:
        """Delete what this attempt replaces: older jobs of the round, and this job's other attempts."""
        for other in _folders(self.job):
            if other != self.attempt and _ATTEMPT.fullmatch(other.name):
                shutil.rmtree(other, ignore_errors=True)
        for other in _folders(self.round_folder):
            if other != self.job and _holds_only_attempts(other) and not _newer(other.name, self.job.name):
                shutil.rmtree(other, ignore_errors=True)

    def told(self, path: Path) -> str:
        """A path as users are told it: below Insignia:OutputDirectory, nothing of the machine above."""
        return str(path.relative_to(self.root))


def segment(text: str) -> str:
    """One safe name for one folder. Different texts never share one: what had to be changed carries a hash."""
    plain = unicodedata.normalize("NFC", text)
    name = "".join(char if _harmless(char) else "_" for char in plain)[:60].strip().lstrip(".")
    if not name or _RESERVED.fullmatch(name):
        name = f"_{name}"
    if name == text and not _LOOKS_HASHED.search(name):
        return name
    return f"{name}-{hashlib.sha256(text.encode('utf-8', 'surrogatepass')).hexdigest()[:8]}"


def _harmless(char: str) -> bool:
    """Letters, their marks and digits of any script, and a few joints."""
    return unicodedata.category(char)[0] in "LMN" or char in "-_. @"


def is_attempt(name: str) -> bool:
    """Whether a folder of this name holds an attempt that was written to its end."""
    return not name.startswith(".") and _ATTEMPT.fullmatch(name) is not None


def _free(job: Path, name: str) -> Path:
    """A name nobody has taken: a run started again by hand counts its attempts from 1 again."""
    number, folder = 1, job / name
    while folder.exists():
        number += 1
        folder = job / f"{name}.{number}"
    return folder


def _folders(parent: Path) -> list[Path]:
    if not parent.is_dir():
        return []
    return [entry for entry in parent.iterdir() if entry.is_dir() and not entry.is_symlink()]


def _holds_only_attempts(folder: Path) -> bool:
    """Whether it is a job's folder: what people put beside these is never touched."""
    try:
        return all(_ATTEMPT.fullmatch(entry.name) for entry in folder.iterdir())
    except OSError:  # another job was quicker to delete it
        return False


def _newer(name: str, ours: str) -> bool:
    """Whether the other job was submitted after ours; ids are UUIDv7 and sort by time."""
    try:
        return UUID(name).version == 7 == UUID(ours).version and UUID(name).hex > UUID(ours).hex
    except ValueError:
        return False
