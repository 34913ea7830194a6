"""The errors of this service: the class says how to react, the text what happened and what to do."""

from collections.abc import Mapping
from typing import Any, ClassVar, Self


class WorkerError(Exception):
    """An error that this service can explain in one line. The exit code follows sysexits.h."""

    exit_code: ClassVar[int] = 70
    code: str = ""
    """Names the message in catalogues of texts; empty if it has no Thai text."""
    text_th: str = ""
    """The message in Thai, for pages that people read; empty if there is none."""

    details: Mapping[str, Any] | None = None
    """What a page needs to offer a remedy, as JSON values; stored with a failed job."""

    def localized(self, code: str, text_th: str, details: Mapping[str, Any] | None = None) -> Self:
        """Set the code and the Thai text of the message, with details for a page, and return the error."""
        self.code, self.text_th, self.details = code, text_th, details
        return self


class Discard(WorkerError):
    """The job can never succeed: fail it at once, without another attempt. The text is shown to the user."""

    exit_code = 65


class InvalidPayload(Discard):
    """The payload does not fit the handler's model."""


class WrongContent(Discard):
    """The content of a file is not what the kind of job requires."""


class TooLarge(WorkerError):
    """The request or file is larger than allowed."""

    exit_code = 65


class UnknownKind(Discard):
    """No handler is registered for the job's kind."""


class TimedOut(WorkerError):
    """The attempt took longer than the handler's timeout."""


class RetryLater(WorkerError):
    """The other side asks for a pause of `after` seconds; the next attempt waits for that long."""

    def __init__(self, text: str, after: float) -> None:
        super().__init__(text)
        self.after = after


class Cancelled(WorkerError):
    """The job was cancelled on request."""


class Interrupted(WorkerError):
    """The handler raised CancelledError although the job was not cancelled."""


class Crashed(WorkerError):
    """The process that ran the job died; `output` is the end of what it wrote."""

    def __init__(self, text: str, output: str = "") -> None:
        super().__init__(text)
        self.output = output


class Shortage(WorkerError):
    """The attempt could not begin: the system has no thread, file or memory left. The text names the limit."""


class DuplicateHandler(WorkerError):
    """Two handlers claim the same kind."""

    exit_code = 78


class HandlersUnusable(WorkerError):
    """A module named in Worker:Handlers cannot be imported."""

    exit_code = 78


class MissingUser(WorkerError):
    """The job has no user and WebSocket:DefaultUserId is not set."""

    exit_code = 65


class KeyConflict(WorkerError):
    """A job with another payload has the same idempotency key."""

    exit_code = 65


class NotFound(WorkerError):
    """No job or notification has this id."""

    exit_code = 65


class NotPossible(WorkerError):
    """The operation is not possible in the job's state."""

    exit_code = 65


class StoreError(WorkerError):
    """The store cannot be used as it is."""

    exit_code = 74


class StoreAway(StoreError):
    """The server of a shared store cannot be reached for now."""


class StoreUnwritable(StoreError):
    """The store's file or folder cannot be created or written."""

    exit_code = 73


class StoreFull(StoreError):
    """The store has reached Queue:MaxBytes, or the disk is full: no jobs are accepted until there is free space."""

    exit_code = 73


class LimitReached(WorkerError):
    """More would wait or be stored than a limit of the settings allows: try again in `after` seconds."""

    exit_code = 69

    def __init__(self, text: str, after: float) -> None:
        super().__init__(text)
        self.after = after


class StoreCorrupt(StoreError):
    """The integrity check failed, or the file is not an SQLite database."""


class StoreIncomplete(StoreError):
    """The store's file is empty, missing, or older than what was committed: continuing would hide the loss."""


class StoreReplaced(StoreError):
    """The database file was removed or replaced while it was open: writes would be lost."""


class StoreLocked(StoreError):
    """Another process holds the store."""

    exit_code = 75


class SchemaTooNew(StoreError):
    """The store was written by a newer version of this program."""

    exit_code = 78


class SchemaTooOld(StoreError):
    """The store must be migrated before this version of the program can use it."""

    exit_code = 78


class UnsafeKey(WorkerError):
    """A signing key is too short, or others may read it."""

    exit_code = 78


class OpenToOthers(WorkerError):
    """Other users of the machine may read or change the store."""

    exit_code = 78


class Unavailable(WorkerError):
    """Something that is needed cannot be reached: the service, a port, another server."""

    exit_code = 69
