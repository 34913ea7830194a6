"""The error family: a class says what the caller can do about it, the text says what happened and what to do."""

from typing import ClassVar


class WorkerError(Exception):
    """Anything this service can explain in one line. The exit code follows sysexits.h."""

    exit_code: ClassVar[int] = 70


class Discard(WorkerError):
    """The job can never succeed: fail it at once, without another attempt. The text is shown to the user."""

    exit_code = 65


class InvalidPayload(Discard):
    """The payload does not fit the handler's model."""


class WrongContent(Discard):
    """A file is not what it has to be."""


class TooLarge(WorkerError):
    """What was sent is larger than allowed."""

    exit_code = 65


class UnknownKind(Discard):
    """No handler is registered for the job's kind."""


class TimedOut(WorkerError):
    """The attempt took longer than the handler's timeout."""


class RetryLater(WorkerError):
    """The other side asks to be left alone for `after` seconds: the next attempt waits for that."""

    def __init__(self, text: str, after: float) -> None:
        super().__init__(text)
        self.after = after


class Cancelled(WorkerError):
    """Somebody asked for the job to be cancelled, and it was."""


class Interrupted(WorkerError):
    """The handler ended itself by cancellation although nobody had asked it to stop."""


class Crashed(WorkerError):
    """The process that ran the job died."""


class DuplicateHandler(WorkerError):
    """Two handlers claim the same kind."""

    exit_code = 78


class HandlersUnusable(WorkerError):
    """A module named in Worker:Handlers cannot be imported."""

    exit_code = 78


class MissingUser(WorkerError):
    """A job names no user and WebSocket:DefaultUserId is not set."""

    exit_code = 65


class KeyConflict(WorkerError):
    """The idempotency key is taken by a job with another payload."""

    exit_code = 65


class NotFound(WorkerError):
    """No job or notification has this id."""

    exit_code = 65


class NotPossible(WorkerError):
    """The operation does not fit the state the job is in."""

    exit_code = 65


class StoreError(WorkerError):
    """The store cannot be used as it is."""

    exit_code = 74


class StoreUnwritable(StoreError):
    """The store's file or folder cannot be created or written."""

    exit_code = 73


class StoreFull(StoreError):
    """The store has reached Queue:MaxBytes, or the disk is full: intake is refused until room is made."""

    exit_code = 73


class StoreCorrupt(StoreError):
    """The integrity check failed, or the file is no SQLite database."""


class StoreReplaced(StoreError):
    """The database file was removed or replaced while it was open: writes would be lost."""


class StoreLocked(StoreError):
    """Another process holds the store."""

    exit_code = 75


class SchemaTooNew(StoreError):
    """The store was written by a newer version of this program."""

    exit_code = 78


class UnsafeKey(WorkerError):
    """A signing key is too short, or others may read it."""

    exit_code = 78


class Unavailable(WorkerError):
    """Something needed is not there: the service, a port, a peer."""

    exit_code = 69
