"""The folders of a round's results: {owner}/{round}/{job}/attempt-{n}, and which of them are replaced.

The owner's folder is `organization/{name}`, or `user/{name}` if the job names no organization: a user and an
organization of one name never share a folder.
"""

import hashlib
import re
import shutil
import unicodedata
from dataclasses import dataclass
from pathlib import Path
from typing import Self
from uuid import UUID

from worker.insignia.errors import RoundConfirmed
from worker.insignia.messages import message
from worker.insignia.results.replaced import MARKERS, mark_replaced, owner_of, record_owner, replacement_of

CONFIRMED = "CONFIRMED"
"""A file of this name in a round's folder closes the round, like confirming it in DPIS."""
OWNER_KINDS = ("user", "organization")
_ATTEMPT = re.compile(r"\.?attempt-\d+(\.\w+){0,2}")
_LOOKS_HASHED = re.compile(r"-[0-9a-f]{8}$")
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d|confirmed)(\..*)?", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class JobFolder:
    """The folders of one attempt."""

    root: Path
    round_folder: Path
    job: Path
    attempt: Path
    earlier_round_folder: Path | None = None
    """Where the round's results were before the folders of users and organizations were separated."""
    user: str | None = None
    """None: unknown, as for results of before it was recorded."""
    organization: str | None = None

    @classmethod
    def of(
        cls, root: Path, *, user: str, organization: str | None = None, round_be: int, job_id: str, attempt: int
    ) -> Self:
        round_folder = root / owner_folder(user, organization) / str(round_be)
        job = round_folder / safe_folder_name(job_id)
        earlier = root / safe_folder_name(organization or user) / str(round_be)
        free = _free(job, f"attempt-{attempt}")
        return cls(root, round_folder, job, free, earlier, user=user, organization=organization)

    @classmethod
    def written(cls, root: Path, attempt: Path) -> Self:
        """Return the folders of an attempt whose results were written."""
        user, organization = owner_of(attempt.parent) or (None, None)
        return cls(root, attempt.parent.parent, attempt.parent, attempt, user=user, organization=organization)

    @property
    def owner_folder(self) -> Path:
        """Return the folder of all rounds of the owner."""
        return self.round_folder.parent

    @property
    def owner(self) -> str | None:
        """Return the owner's folder, such as `organization/dept-7`; None for results of before there were any."""
        owner = self.round_folder.parent
        return f"{owner.parent.name}/{owner.name}" if owner.parent.name in OWNER_KINDS else None

    @property
    def confirmed_by(self) -> Path | None:
        """Return the file that confirms the round, here or in its earlier folder; None if it is open."""
        folders = (self.round_folder, self.earlier_round_folder)
        marks = (folder / CONFIRMED for folder in folders if folder is not None)
        return next((mark for mark in marks if mark.exists()), None)

    def reject_if_confirmed(self) -> None:
        """Raise RoundConfirmed if the round was confirmed, here or in its earlier folder."""
        mark = self.confirmed_by
        if mark is not None:
            raise RoundConfirmed(message("round_confirmed", round=mark.parent.name, path=self.shown_path(mark)))

    def record_owner(self) -> None:
        """Note whose results these are, once the first file of the attempt is written."""
        assert self.user is not None, "the folder of a running attempt knows its user"
        record_owner(self.job, self.user, self.organization)

    def older_jobs(self) -> list[str]:
        """Return the folders of older jobs of the same user, organization and round whose results this one replaces.

        In a folder whose owner is not recorded, or that owners may share, nothing is replaced.
        """
        if self.owner is None:
            return []
        return sorted(
            other.name
            for other in _folders(self.round_folder)
            if other != self.job
            and _holds_only_attempts(other)
            and not _newer(other.name, self.job.name)
            and self._is_of_same_owner(other)
            and replacement_of(other) is None
        )

    def _is_of_same_owner(self, other: Path) -> bool:
        if self.round_folder.parent.parent.name == "user":
            return True
        return self.user is not None and owner_of(other) == (self.user, self.organization)

    def replace_older(self, keep: float, now: float) -> list[str]:
        """Mark the results that this attempt replaces, which are kept for `keep` seconds; return their jobs' folders.

        Other attempts of this job are deleted, and so are replaced results if `keep` is 0.
        """
        for other in _folders(self.job):
            if other != self.attempt and _ATTEMPT.fullmatch(other.name):
                shutil.rmtree(other, ignore_errors=True)
        older = self.older_jobs()
        for name in older:
            if keep > 0:
                mark_replaced(self.round_folder / name, self.job.name, now)
            else:
                shutil.rmtree(self.round_folder / name, ignore_errors=True)
        return older

    def shown_path(self, path: Path) -> str:
        """Return a path for messages: relative to Insignia:OutputDirectory, without the folders above it."""
        return str(path.relative_to(self.root))


def owner_folder(user: str, organization: str | None) -> Path:
    """Return the folder of an owner's files, such as `organization/dept-7`, or `user/u-1` without an organization."""
    kind, name = ("organization", organization) if organization else ("user", user)
    return Path(kind, safe_folder_name(name))


def safe_folder_name(text: str) -> str:
    """Return a safe folder name. Different texts never share one: a changed text gets a hash."""
    plain = unicodedata.normalize("NFC", text)
    name = "".join(char if _harmless(char) else "_" for char in plain)[:60].strip().lstrip(".")
    if not name or _RESERVED.fullmatch(name):
        name = f"_{name}"
    if name == text and not _LOOKS_HASHED.search(name):
        return name
    return f"{name}-{hashlib.sha256(text.encode('utf-8', 'surrogatepass')).hexdigest()[:8]}"


def _harmless(char: str) -> bool:
    """Return whether it is a letter, mark or digit of any script, or one of `-_. @`."""
    return unicodedata.category(char)[0] in "LMN" or char in "-_. @"


def is_attempt(name: str) -> bool:
    """Return whether a folder of this name holds a complete attempt."""
    return not name.startswith(".") and _ATTEMPT.fullmatch(name) is not None


def _free(job: Path, name: str) -> Path:
    """Return a name that is not in use: a run that is retried by hand counts its attempts from 1 again."""
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
    """Return whether it is a job's folder; anything else next to these is never touched."""
    try:
        return all(_ATTEMPT.fullmatch(entry.name) or entry.name in MARKERS for entry in folder.iterdir())
    except OSError:  # another job has deleted it in the meantime
        return False


def _newer(name: str, ours: str) -> bool:
    """Return whether the other job was submitted later; ids are UUIDv7 and sort by time."""
    try:
        return UUID(name).version == 7 == UUID(ours).version and UUID(name).hex > UUID(ours).hex
    except ValueError:
        return False
