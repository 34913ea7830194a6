"""Who is where. A room exists while somebody is in it."""

import itertools
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

Member = TypeVar("Member")


def user_room(user: str) -> str:
    """The room of one user's sockets; nothing a client sends ever names it."""
    return f"user:{user}"


def job_room(job_id: str) -> str:
    return f"task:{job_id}"


class Rooms(Generic[Member]):
    """Members by room, in the order they came."""

    def __init__(self) -> None:
        self._members: dict[str, dict[Member, None]] = {}
        self._rooms: dict[Member, set[str]] = {}
        self.changed: Callable[[str, Member, bool], None] | None = None
        """Hears of each (room, member, whether it entered; else it left)."""

    def __len__(self) -> int:
        return len(self._members)

    def __iter__(self) -> Iterator[str]:
        return iter(self._members)

    def sizes(self, limit: int) -> dict[str, int]:
        """How many are in each of the first `limit` rooms."""
        return {room: len(members) for room, members in itertools.islice(self._members.items(), limit)}

    def enter(self, room: str, member: Member) -> None:
        members = self._members.setdefault(room, {})
        is_new = member not in members
        members[member] = None
        self._rooms.setdefault(member, set()).add(room)
        if is_new and self.changed is not None:
            self.changed(room, member, True)

    def leave(self, room: str, member: Member) -> None:
        """Nothing happens to one who is not there."""
        members = self._members.get(room)
        if members is None or member not in members:
            return
        del members[member]
        if not members:
            del self._members[room]
        rooms = self._rooms[member]
        rooms.discard(room)
        if not rooms:
            del self._rooms[member]
        if self.changed is not None:
            self.changed(room, member, False)

    def leave_all(self, member: Member) -> None:
        for room in tuple(self._rooms.get(member, ())):
            self.leave(room, member)

    def members(self, room: str) -> tuple[Member, ...]:
        """A copy: sending to one may make another leave."""
        members = self._members.get(room)
        return () if members is None else tuple(members)

    def of(self, member: Member) -> frozenset[str]:
        return frozenset(self._rooms.get(member, ()))
