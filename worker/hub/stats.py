"""The hub's statistics: counters that only grow, and the state of the clients now. HubStats is public JSON."""

from collections import Counter
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class ClientStats:
    """One client. Times are wall clock, seconds since 1970."""

    id: str
    user_id: str | None
    endpoint: str
    address: str
    since: float
    last_pong: float | None
    sent: int
    received: int
    dropped: int
    waiting_bytes: int
    rooms: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class HubStats:
    """The whole hub."""

    connections_total: int
    connections_active: int
    messages_in: int
    messages_out: int
    notifications: int
    """Notifications stored in an inbox."""
    repetitions: int
    """Notifications that were dropped because their id was a repetition."""
    replayed: int
    shown: int
    """Notifications that pages reported as shown."""
    errors: int
    refused: int
    rooms: int
    users: int
    """Users with at least one client."""
    close_codes: dict[int, int]
    clients: tuple[ClientStats, ...] = ()


@dataclass(slots=True)
class HubCounters:
    """Counters that only grow."""

    connections: int = 0
    messages_in: int = 0
    messages_out: int = 0
    notifications: int = 0
    repetitions: int = 0
    replayed: int = 0
    shown: int = 0
    errors: int = 0
    refused: int = 0
    close_codes: Counter[int] = field(default_factory=Counter)
