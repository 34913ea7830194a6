"""PostgreSQL's errors as StoreErrors, and which of them pass by themselves. Translated at the edge of the store."""

import asyncio
import contextlib
import ssl
from collections.abc import Iterator

import asyncpg

from worker.errors import StoreAway, StoreCorrupt, StoreError, StoreFull, StoreUnwritable

_LOST_CONNECTION = (
    "08",  # connection exceptions
    "57P",  # shutdown by the operator, crash, cannot connect now
    "25P03",  # idle_in_transaction_session_timeout
    "25P04",  # transaction_timeout
    "25006",  # read-only: the server became a replica
    "53300",  # too many connections
    "53400",
)
_TRY_AGAIN = ("40001", "40P01", "55P03")
"""Serialization failure, deadlock, lock not available."""


def is_outage(exc: BaseException) -> bool:
    """Return whether the server cannot be reached, or not be written, for a while."""
    if isinstance(exc, asyncpg.PostgresError):
        return _code(exc).startswith(_LOST_CONNECTION)
    if isinstance(exc, asyncpg.InternalClientError):
        # No server of the required kind answered; or asyncpg lost count when the server ended an idle connection.
        return True
    if isinstance(exc, asyncpg.InterfaceError):
        return not isinstance(exc, ValueError) and ("closed" in str(exc) or "closing" in str(exc))
    return isinstance(exc, OSError | asyncio.TimeoutError | TimeoutError | EOFError)


def is_conflict(exc: BaseException) -> bool:
    """Return whether the same transaction may succeed when it is repeated at once."""
    return isinstance(exc, asyncpg.PostgresError) and _code(exc) in _TRY_AGAIN


def translate(exc: Exception, shown: str) -> Exception:
    """Return the StoreError that says what to do about `exc`; anything else is returned unchanged."""
    if isinstance(exc, asyncpg.IntegrityConstraintViolationError):
        return ValueError(f"the store rejected a row: {exc}")
    if isinstance(exc, asyncpg.PostgresError):
        return _by_code(_code(exc), exc, shown)
    if isinstance(exc, asyncpg.InterfaceError) and isinstance(exc, ValueError):
        return ValueError(f"the store rejected a value: {exc}")
    if isinstance(exc, ssl.SSLCertVerificationError):
        return StoreUnwritable(
            f"the certificate of {shown} was not accepted ({exc.verify_message}): check host and sslrootcert in "
            "Queue:ConnectionString"
        )
    if is_outage(exc):
        return StoreAway(f"{shown} cannot be reached ({exc}): check that the server runs and accepts connections")
    return exc


@contextlib.contextmanager
def translated(shown: str) -> Iterator[None]:
    """Raise the errors of the driver inside as StoreErrors."""
    try:
        yield
    except Exception as exc:
        known = translate(exc, shown)
        if known is exc:
            raise
        raise known from exc


def _by_code(code: str, exc: Exception, shown: str) -> Exception:
    if code == "53100":
        return StoreFull(f"the disk of {shown} is full: free some space; the service continues by itself")
    if code in ("42501", "28000", "28P01", "3D000", "25006"):
        return StoreUnwritable(f"cannot use {shown} ({exc}): check user, password, database and rights")
    if code in ("XX001", "XX002"):
        return StoreCorrupt(f"{shown} is damaged ({exc}): restore the database from its backup")
    if code in ("42P01", "3F000"):
        return StoreError(f"{shown} has no store, or lost parts of it ({exc}): run `insignia-worker db migrate`")
    if code in _TRY_AGAIN:
        return StoreError(f"{shown} is not changed, because others use the same rows ({exc}): try again")
    if code == "57014":
        return StoreError(f"{shown} ended a statement ({exc}): try again, or raise statement_timeout of its role")
    if code.startswith(_LOST_CONNECTION):
        return StoreAway(f"{shown} cannot be reached ({exc}): check that the server runs and accepts connections")
    return exc


def _code(exc: BaseException) -> str:
    return getattr(exc, "sqlstate", None) or ""
