"""The hub's figures: counters that only grow, and a picture of who is there."""

from collections import Counter
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class ClientFigures:
    """One client. Times are wall clock, seconds since 1970."""

    id: str
    user_id: str | None
    door: str
    address: str
    since: float
    last_pong: float | None
    sent: int
    received: int
    dropped: int
    waiting_bytes: int
    rooms: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class HubFigures:
    """The hub now."""

    connections_total: int
    connections_active: int
    messages_in: int
    messages_out: int
    notifications: int
    """Stored in an inbox."""
    repetitions: int
    """Repeated notification ids, dropped."""
    replayed: int
    shown: int
    """Pages said that they showed one."""
    errors: int
    refused: int
    rooms: int
    users: int
    """With at least one socket."""
    close_codes: dict[int, int]
    clients: tuple[ClientFigures, ...] = ()


@dataclass(slots=True)
class Counters:
    """What is counted as it happens."""

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
