"""The message types to which one client has subscribed. Knows no message."""

from dataclasses import dataclass, field
from typing import Final

from worker.hub.errors import MalformedPacket

_MAX_TYPES: Final = 50
_ALL: Final = "*"


@dataclass(slots=True)
class Subscriptions:
    """The message types that a client wants; at first all."""

    all_types: bool = True
    included: set[str] = field(default_factory=set)
    excluded: set[str] = field(default_factory=set)

    def __contains__(self, message_type: object) -> bool:
        return message_type in self.included or (self.all_types and message_type not in self.excluded)

    def add(self, message_type: str) -> None:
        """Subscribe to a type, or to all with `*`."""
        if message_type == _ALL:
            self.all_types = True
            self.excluded.clear()
            return
        self.excluded.discard(message_type)
        self.included.add(message_type)
        _check_size(self.included)

    def remove(self, message_type: str) -> None:
        """Unsubscribe from a type, or from all with `*`."""
        if message_type == _ALL:
            self.all_types = False
            self.included.clear()
            return
        self.included.discard(message_type)
        self.excluded.add(message_type)
        _check_size(self.excluded)


def _check_size(names: set[str]) -> None:
    if len(names) > _MAX_TYPES:
        names.pop()
        raise MalformedPacket(f"more than {_MAX_TYPES} types")
