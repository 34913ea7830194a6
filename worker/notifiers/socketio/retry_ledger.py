"""What sessions have learned about notifications that are not confirmed, and what follows for the next session.

Knows no socket and no clock: times are seconds (monotonic), passed in. It outlives sessions, not the process: after a
restart everything unconfirmed is sent again.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from worker.core.store import OutboxMessage


@dataclass(frozen=True, slots=True)
class ResendPolicy:
    """When a notification is set aside. Seconds."""

    max_attempts: int = 5
    """Attempts, each with the notification alone in flight."""
    dead_after: float = 3600.0
    """Attempts that span this long suffice without another notification having been confirmed in the meantime."""
    first_delay: float = 1.0
    """Between the first two attempts; doubles with each further one."""
    longest_delay: float = 300.0


@dataclass(slots=True)
class Suspect:
    """A notification that may be the reason why a session made no progress."""

    user_id: str | None = None
    """None until the next session takes it."""
    attempts: int = 0
    first_attempt_at: float = 0.0
    next_at: float = 0.0
    """When it may be sent again."""
    reported: bool = False


@dataclass(frozen=True, slots=True)
class SessionResult:
    """What one session leaves behind."""

    unconfirmed: Sequence[int]
    """Ids of those sent and not confirmed, oldest first."""
    overtaken: Collection[int]
    """Ids of those among them that were sent before one that is confirmed."""
    confirmed_above: Iterable[int]
    """Ids that are confirmed and newer than one that is not."""
    progressed: bool
    """Whether anything was confirmed."""
    alone: bool
    """Whether the only unconfirmed notification was alone in flight."""


@dataclass(slots=True)
class RetryLedger:
    """Tells a session what to send alone, what not to send again, and how much at first."""

    policy: ResendPolicy
    suspects: dict[int, Suspect] = field(default_factory=dict)
    """By message id."""
    confirmed: set[int] = field(default_factory=set)
    """Ids confirmed above a gap: they are not sent again."""
    start_window: int | None = None
    """How many notifications a session may send before any is confirmed; None: the whole window."""
    skipped: dict[str, list[int]] = field(default_factory=dict)
    """By user: the numbers of notifications that were set aside, to be announced with the user's next one."""
    _announcing: dict[int, tuple[str, Sequence[int]]] = field(default_factory=dict)
    """By id of the notification that carries them: the user, and the numbers."""
    _last_confirmed_at: float = -1.0
    _futile_sessions: int = 0
    """Sessions in a row that ended with a suspect alone in flight, and in which nothing was confirmed."""
    _first_suspects: dict[str | None, int] | None = None
    """By user: the oldest suspect that has attempts left. None: to be found out again."""

    @property
    def is_empty(self) -> bool:
        """Return whether a session may send without looking at each notification."""
        return not (self.suspects or self.confirmed or self.skipped)

    # -- what sessions report --------------------------------------------------------------------------------------

    def on_session_end(self, result: SessionResult, now: float) -> None:
        """A session ended without being asked to, and not over credentials or the size of a frame."""
        self.confirmed.update(result.confirmed_above)
        if not result.progressed and result.unconfirmed:
            self.start_window = 1
        for message_id in result.overtaken:
            self.suspects.setdefault(message_id, Suspect())
        if result.alone and len(result.unconfirmed) == 1:
            self._count_attempt(result.unconfirmed[0], now)
            self._futile_sessions += 1
        if result.progressed:
            self._futile_sessions = 0
        self._first_suspects = None

    def on_full_window(self) -> None:
        """The server has confirmed as much as the whole window holds."""
        self.start_window = None

    def on_confirmed(self, message_id: int, now: float) -> None:
        """A notification was confirmed, or rejected by the server."""
        self.confirmed.add(message_id)
        self._acquit(message_id)
        self._last_confirmed_at = now
        self._forget_announced(message_id)

    def on_watermark(self, up_to: int) -> None:
        """Everything up to this id is settled."""
        if not self.confirmed and not self.suspects:
            return
        self.confirmed = {message_id for message_id in self.confirmed if message_id > up_to}
        for message_id in [one for one in self.suspects if one <= up_to]:
            self._acquit(message_id)

    def _acquit(self, message_id: int) -> None:
        if self.suspects.pop(message_id, None) is not None:
            self._first_suspects = None

    def _count_attempt(self, message_id: int, now: float) -> None:
        suspect = self.suspects.setdefault(message_id, Suspect())
        suspect.attempts += 1
        if suspect.attempts == 1:
            suspect.first_attempt_at = now
        delay = self.policy.first_delay * 2.0 ** min(suspect.attempts - 1, 30)
        suspect.next_at = now + min(delay, self.policy.longest_delay)

    # -- what sessions ask -----------------------------------------------------------------------------------------

    def others_first(self, window: int) -> int:
        """Return how many notifications that are not confirmed a session takes before it sends a suspect.

        Twice as many with each session that confirmed nothing: all that were taken may be of the suspect's user, and
        those of others come after them.
        """
        return window << min(self._futile_sessions, 10)

    def must_wait(self, message: OutboxMessage) -> bool:
        """Return whether the notification is not to be sent together with others now: it is a suspect itself, or it
        is newer than a suspect of the same user that still has attempts left."""
        if (suspect := self.suspects.get(message.id)) is not None:
            if suspect.user_id is None:
                suspect.user_id, self._first_suspects = message.user_id, None
            return True
        if self._first_suspects is None:
            limit = self.policy.max_attempts
            left = sorted(
                (message_id for message_id, one in self.suspects.items() if one.attempts < limit), reverse=True
            )
            self._first_suspects = {self.suspects[message_id].user_id: message_id for message_id in left}
        return self._first_suspects.get(message.user_id, message.id) < message.id

    def verdict(self, message_id: int, now: float) -> str | None:
        """Return why the notification is to be set aside; None: it is to be sent again.

        A server that is down or restarting must not cost a notification. So attempts alone do not suffice: another
        notification has been confirmed since the first attempt, or the attempts span `dead_after`.
        """
        suspect = self.suspects.get(message_id)
        if suspect is None or suspect.attempts < self.policy.max_attempts:
            return None
        tried = (
            f"no confirmation of receipt in {suspect.attempts} attempts, each with this notification alone in flight"
        )
        if self._last_confirmed_at > suspect.first_attempt_at:
            return f"{tried}, while others were confirmed"
        span = now - suspect.first_attempt_at
        return f"{tried}, over {span:.0f} s" if span >= self.policy.dead_after else None

    def report_once(self, message: OutboxMessage) -> str | None:
        """Return what operators should know of a notification that is sent alone from now on; None: they know it."""
        suspect = self.suspects.get(message.id)
        if suspect is None or suspect.reported:
            return None
        suspect.reported = True
        return (
            f"notification {message.notification_id} of job {message.job_id} was sent and not confirmed; it is sent "
            f"alone from now on, and set aside after {self.policy.max_attempts} attempts if others are confirmed"
        )

    # -- numbers that receivers need not wait for -------------------------------------------------------------------

    def set_aside(self, message: OutboxMessage) -> None:
        """The notification is dead: forget it, and keep its number to be announced."""
        self._acquit(message.id)
        number = sequence_of(message.body)
        if number is not None:
            self.skipped.setdefault(message.user_id, []).append(number)

    def announced(self, message: OutboxMessage) -> bytes:
        """Return the body with the user's skipped numbers, as `payload.skipped`."""
        numbers = self.skipped.get(message.user_id)
        if not numbers:
            return message.body
        self._announcing[message.id] = (message.user_id, tuple(numbers))
        return _with_skipped(message.body, numbers)

    def _forget_announced(self, message_id: int) -> None:
        user_id, numbers = self._announcing.pop(message_id, ("", ()))
        left = [number for number in self.skipped.get(user_id, ()) if number not in numbers]
        if left:
            self.skipped[user_id] = left
        else:
            self.skipped.pop(user_id, None)


def sequence_of(body: bytes) -> int | None:
    """Return the user's number of a notification; None: it has none."""
    try:
        number = orjson.loads(body)[1]["payload"]["sequence"]
    except (orjson.JSONDecodeError, LookupError, TypeError):
        return None
    return number if isinstance(number, int) else None


def _with_skipped(body: bytes, numbers: Sequence[int]) -> bytes:
    try:
        event: list[Any] = orjson.loads(body)
        event[1]["payload"]["skipped"] = sorted(numbers)
    except (orjson.JSONDecodeError, LookupError, TypeError):
        return body
    return orjson.dumps(event)
