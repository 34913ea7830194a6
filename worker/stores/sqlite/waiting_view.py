"""Shows who waits behind what."""

from worker.core.claim_rules import WaitingLine
from worker.stores.sqlite.line import Line
from worker.stores.sqlite.waiting import WaitingLines


def oldest(waiting: WaitingLines) -> float | None:
    """Return `run_at` of the oldest due job whose kind is not paused. For any thread."""
    times = [line.due.first_time for line in list(waiting.by_id.values()) if not _is_paused(line)]
    return min((time for time in times if time is not None), default=None)


def view(waiting: WaitingLines, limit: int, now: float) -> list[WaitingLine]:
    """Return lines with queued jobs: in the order of their turns, then those that have none, the longest first.

    `now` is the monotonic clock.
    """
    first = _in_turn(waiting, limit)
    found, seen, position = list[WaitingLine](), {line.id for line in first}, 0
    for line in first:
        is_held = line.full_gauge(now) is not None
        found.append(_shown(line, None if is_held else position, now))
        position += not is_held
    others = [line for line in waiting.by_id.values() if line.queued and line.id not in seen and _has_no_turn(line)]
    others.sort(key=lambda line: -line.queued)
    return [*found, *(_shown(line, None, now) for line in others[: max(limit - len(found), 0)])]


def _in_turn(waiting: WaitingLines, limit: int) -> list[Line]:
    """Return the first lines in the order in which they are going to be claimed from."""
    found: list[Line] = []
    for rank in sorted(waiting.turns):
        rows = [[list(lines) for lines in users.values()] for users in waiting.turns[rank].values()]
        depth = 0
        while len(found) < limit and any(len(users) > depth for users in rows):
            found += [line for users in rows if len(users) > depth for line in users[depth]]
            depth += 1
    return found[:limit]


def _shown(line: Line, position: int | None, now: float) -> WaitingLine:
    return WaitingLine(
        priority=-line.rank,
        organization=line.organization,
        user_id=line.user_id,
        kind=line.kind,
        submitter=line.submitter,
        queued=line.queued,
        running=line.running,
        position=position,
        held_by=line.held_by(now),
    )


def _has_no_turn(line: Line) -> bool:
    return not line.due or line.parked_by is not None


def _is_paused(line: Line) -> bool:
    return any(gauge.closed == "paused" for gauge in line.gauges)
