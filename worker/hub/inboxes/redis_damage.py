"""Reports what Redis holds that no hub wrote: of one user's inbox by its name, of the rest now and then."""

from typing import Final

from worker.core.clock import Clock
from worker.core.events import Emit, LoopFailed
from worker.hub.events import InboxDamaged, RevocationsRead, RevocationsUnreadable
from worker.hub.inbox import DamagedInbox
from worker.hub.inboxes.redis_scripts import is_about_content
from worker.net.rate_limit import TokenBucket

_NAMED: Final = 1000
"""Most users that are remembered as named."""


class RedisDamage:
    """What one hub has found damaged. There may be much of it, so the log gets a few lines at first, then one a minute.
    All methods must be called in the event loop's thread."""

    def __init__(self, where: str, prefix: str, clock: Clock, emit: Emit) -> None:
        self._where = where
        self._prefix = prefix
        self._clock = clock
        self._emit = emit
        self._unreadable = TokenBucket.full(1 / 60, 3, clock.monotonic())
        self._users = TokenBucket.full(1 / 60, 10, clock.monotonic())
        self._named: set[str] = set()
        self._revocations_are_unreadable = False

    def report_unreadable(self, error: BaseException) -> None:
        """Report something that is not one user's inbox, or one message in it."""
        if self._unreadable.take(self._clock.monotonic()):
            self._emit(LoopFailed("hub: what Redis holds", error, 0.0))

    def report_revocations(self, key: str, error: BaseException) -> None:
        """Report that it cannot be read which tokens are revoked, once until it can."""
        if not self._revocations_are_unreadable:
            self._revocations_are_unreadable = True
            self._emit(RevocationsUnreadable(self._where, key, str(error)))

    def on_revocations_read(self) -> None:
        """Note that it is known which tokens are revoked."""
        if self._revocations_are_unreadable:
            self._revocations_are_unreadable = False
            self._emit(RevocationsRead(self._where))

    def report_user(self, user: str, fault: str) -> DamagedInbox:
        """Report a user's inbox, once until it works again; return what those that use it get."""
        fault = fault.partition(" script: ")[0]
        if user not in self._named and len(self._named) < _NAMED and self._users.take(self._clock.monotonic()):
            self._named.add(user)
            self._emit(InboxDamaged(self._where, user, fault, f"{self._prefix}u:{user}"))
        return DamagedInbox(f"the user's inbox is damaged in the hubs' Redis: {fault}")

    def error_of(self, user: str, error: Exception) -> Exception:
        """Return DamagedInbox, and report it, if a script failed over this user's inbox; else the error itself."""
        return self.report_user(user, str(error)) if is_about_content(error) else error

    def on_stored(self, user: str) -> None:
        """Note that the user's inbox works."""
        if self._named:
            self._named.discard(user)
