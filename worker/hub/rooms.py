"""Members by room. A room exists while it has a member."""

import itertools
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

Member = TypeVar("Member")


def user_room(user: str) -> str:
    """Return the room of one user's clients. Clients enter it by their token alone, never by a name they send."""
    return f"user:{user}"


def job_room(job_id: str) -> str:
    """Return the room of the clients that watch one job."""
    return f"task:{job_id}"


class Rooms(Generic[Member]):
    """Members by room, in the order in which they entered."""

    def __init__(self) -> None:
        self._members: dict[str, dict[Member, None]] = {}
        self._rooms: dict[Member, set[str]] = {}
        self.on_change: Callable[[str, Member, bool], None] | None = None
        """Called with (room, member, True if it entered or False if it left)."""

    def __len__(self) -> int:
        return len(self._members)

    def __iter__(self) -> Iterator[str]:
        return iter(self._members)

    def sizes(self, limit: int) -> dict[str, int]:
        """Return the number of members of each of the first `limit` rooms."""
        return {room: len(members) for room, members in itertools.islice(self._members.items(), limit)}

    def enter(self, room: str, member: Member) -> None:
        members = self._members.setdefault(room, {})
        is_new = member not in members
        members[member] = None
        self._rooms.setdefault(member, set()).add(room)
        if is_new and self.on_change is not None:
            self.on_change(room, member, True)

    def leave(self, room: str, member: Member) -> None:
        """Remove the member from the room, if it is there."""
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
        if self.on_change is not None:
            self.on_change(room, member, False)

    def leave_all(self, member: Member) -> None:
        for room in tuple(self._rooms.get(member, ())):
            self.leave(room, member)

    def members(self, room: str) -> tuple[Member, ...]:
        """Return the members, as a copy: sending to one may make another leave."""
        members = self._members.get(room)
        return () if members is None else tuple(members)

    def rooms_of(self, member: Member) -> frozenset[str]:
        return frozenset(self._rooms.get(member, ()))
