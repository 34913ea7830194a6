"""Decides whose turn it is at a claim. In memory, for the writer's thread; the jobs themselves stay in the file.

Queued jobs form lines: one for each priority, organisation, user, kind and API key. Within a priority the
organisations take turns, and their users within each. A claim costs the same however many lines there are.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from operator import itemgetter
from typing import Any, NamedTuple

from worker.core.claim_rules import ClaimRules, Limit
from worker.core.job import NewJob
from worker.stores.sqlite.due_jobs import DueJobs, Head
from worker.stores.sqlite.gauges import Gauge, GaugeName, Gauges
from worker.stores.sqlite.line import Line, Owner, Turns, line_id, lines_instead_of

_MOST_LINES = 50_000
"""Lines in memory, about 40 MB. Users that come on top of them share lines."""

_SHARED_LINES = 1024
"""How many lines the other users of one priority, organisation, kind and key share."""

_MOST_PARKED = 2000
"""Lines set aside by one claim because of a limit; about 5 ms. The next claim continues."""

_OWNER_OF = itemgetter(*map(NewJob._fields.index, ("priority", "organization", "user_id", "kind", "submitter")))


class _Change(NamedTuple):
    """What was added to the line of each of the jobs."""

    queued: int
    running: int
    due: int
    """1: those of the jobs that have a head became due; -1: they no longer are."""
    jobs: Sequence[tuple[Line, Head | None]]
    job_ids: Sequence[str] = ()
    """Jobs of these lines that run, or ran."""


class WaitingLines:
    """All lines, and the order in which they have their turn."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self.by_id: dict[int, Line] = {}
        self._by_owner: dict[tuple[Any, ...], Line] = {}
        """By priority, organisation, user, kind and API key."""
        self.turns: dict[int, Turns] = {}
        """By rank; none of them is empty."""
        self._held: dict[str, Line] = {}
        """The lines of the jobs that this owner runs, by job id."""
        self._gauges = Gauges(ClaimRules(), frozenset())
        self._freed: dict[Gauge, None] = {}
        """Gauges that had no room for a line and may have now."""
        self._log: list[_Change] = []
        """What the transaction has changed, so that it can be undone."""

    # -- rules ---------------------------------------------------------------------------------------------

    @property
    def rules(self) -> ClaimRules:
        return self._gauges.rules

    @property
    def paused(self) -> frozenset[str]:
        return self._gauges.paused

    def use(self, rules: ClaimRules, paused: frozenset[str]) -> None:
        """Use other rules: count everything again, and give each line another turn."""
        before, self._gauges = self._gauges, Gauges(rules, paused)
        self._gauges.carry_over(before)
        self._freed.clear()
        for line in self.by_id.values():
            line.gauges = () if self._gauges.needless else self._gauges.of(line)
            for gauge in line.gauges:
                gauge.running += line.running
                gauge.waiting += line.queued
            if line.parked_by is not None:
                line.parked_by = None
                self._enter(line)

    # -- lines ---------------------------------------------------------------------------------------------

    def lines_of(self, jobs: Iterable[NewJob]) -> list[Line]:
        """Return the lines that new jobs belong to."""
        # Plain tuples, made without a call of Python for each job.
        known = self._by_owner
        return [known.get(owner) or self._new_line(Owner(-owner[0], *owner[1:])) for owner in map(_OWNER_OF, jobs)]

    def _new_line(self, owner: Owner) -> Line:
        if len(self.by_id) >= _MOST_LINES:
            self._forget_idle()
        if len(self.by_id) >= _MOST_LINES:
            number = line_id(0, None, owner.user_id, "", None) % _SHARED_LINES
            shared = line_id(*owner._replace(user_id=f"\0{number}"))
            return self.by_id.get(shared) or self._add(shared, owner._replace(user_id=None), by_owner=False)
        number = line_id(*owner)
        return self.by_id.get(number) or self._add(number, owner)

    def restore(self, number: int, owner: Owner, later: int = 0, due: DueJobs | None = None) -> Line:
        """Add a line as it is in the file, with `later` queued jobs that are not due yet; return it."""
        is_shared = number != line_id(*owner)
        line = self._add(number, owner._replace(user_id=None) if is_shared else owner, by_owner=not is_shared)
        if due is not None:
            line.due = due
        line.queued = later + len(line.due)
        line.count(waiting=line.queued)
        self._enter(line)
        return line

    def _add(self, number: int, owner: Owner, *, by_owner: bool = True) -> Line:
        self.by_id[number] = line = Line(number, owner)
        if by_owner:
            self._by_owner[-owner.rank, *owner[1:]] = line
        if not self._gauges.needless:
            line.gauges = self._gauges.of(line)
        return line

    def _forget_idle(self) -> None:
        changed = {line for change in self._log for line, _ in change.jobs}
        idle = [line for line in self.by_id.values() if not line.queued and not line.running]
        for line in idle:
            if line not in changed:
                del self.by_id[line.id]
                self._by_owner.pop((-line.rank, *line.owner[1:]), None)

    # -- jobs ----------------------------------------------------------------------------------------------

    def require_places(self, lines: Iterable[Line]) -> None:
        """Raise LimitReached if one job more for each of the lines is more than may wait."""
        wanted: dict[Gauge, int] = {}
        for line in lines:
            for gauge in line.gauges:
                wanted[gauge] = wanted.get(gauge, 0) + 1
        for gauge, jobs in wanted.items():
            gauge.require_place(jobs)

    def byte_limits(self, line: Line) -> list[tuple[GaugeName, Limit]]:
        """Return the limits of waiting bytes that the line's jobs count for."""
        limited = ((gauge, gauge.limit) for gauge in line.gauges)
        return [
            ((gauge.scope, gauge.name), limit) for gauge, limit in limited if limit and limit.waiting_bytes is not None
        ]

    def queue(self, jobs: Sequence[tuple[Line, Head | None]]) -> None:
        """Add queued jobs; the head places a job among the due ones of its line, None: it is not due yet."""
        self._log.append(_Change(1, 0, 1, jobs))
        for line, head in jobs:
            line.queued += 1
            if line.gauges:
                line.count(waiting=1)
            if head is not None:
                due = line.due
                if due.times:
                    due.add(head)
                else:
                    due.add(head)
                    self._enter(line)

    def unqueue(self, line: Line, head: Head | None) -> None:
        """Remove a queued job that was cancelled."""
        if head is not None:
            line.due.remove(head)
            if not line.due.times:
                self._leave(line)
        self._log.append(_Change(-1, 0, -1, [(line, head)]))
        line.queued -= 1
        line.count(waiting=-1)

    def become_due(self, jobs: Sequence[tuple[Line, Head]]) -> None:
        """Put queued jobs among the due ones."""
        self._log.append(_Change(0, 0, 1, jobs))
        for line, head in jobs:
            line.due.add(head)
            self._enter(line)

    def hold(self, job_ids: Sequence[str], chosen: Sequence[tuple[Line, Head]]) -> None:
        """Remember that this owner runs the jobs that were chosen."""
        for job_id, (line, _) in zip(job_ids, chosen, strict=True):
            self._held[job_id] = line
        self._log.append(_Change(0, 0, 0, chosen, job_ids))

    def end(self, job_ids: Iterable[str]) -> bool:
        """Count that jobs no longer run; return whether lines wait for that, because of a limit.

        Jobs that this owner did not run were never counted.
        """
        held = self._held
        ended = [job_id for job_id in job_ids if job_id in held]
        jobs = [(held.pop(job_id), None) for job_id in ended]
        self._log.append(_Change(0, -1, 0, jobs, ended))
        for line, _ in jobs:
            line.running -= 1
            if line.gauges:
                self._count_end(line)
        return bool(self._freed)

    def _count_end(self, line: Line) -> None:
        for gauge in line.gauges:
            gauge.running -= 1
            if gauge.parked:
                self._freed[gauge] = None

    # -- turns ---------------------------------------------------------------------------------------------

    def choose(self, limit: int) -> list[tuple[Line, Head]]:
        """Take up to `limit` due jobs out of their lines, each line at its turn."""
        chosen: list[tuple[Line, Head]] = []
        try:
            self._choose(chosen, limit)
        finally:
            self._log.append(_Change(-1, 1, -1, tuple(chosen)))
        return chosen

    def _choose(self, chosen: list[tuple[Line, Head]], limit: int) -> None:
        now, parked = self._monotonic(), 0
        while True:
            for rank in sorted(self.turns):
                turns = self.turns[rank]
                while turns and len(chosen) < limit and parked < _MOST_PARKED:
                    one_organization = len(turns) == 1
                    for first in self._next_lines(turns, min(limit - len(chosen), _MOST_PARKED - parked)):
                        line: Line | None = first
                        while line is not None and (full := line.full_gauge(now) if line.gauges else None):
                            self._park(line, full)
                            parked += 1
                            others = lines_instead_of(line, turns, one_organization) if parked < _MOST_PARKED else ()
                            line = min(others, key=_first, default=None)
                        if line is not None:
                            chosen.append((line, self._take(line, now)))
            if len(chosen) >= limit or parked >= _MOST_PARKED or not self._unpark(now):
                return

    def put_back(self, chosen: Sequence[tuple[Line, Head]]) -> None:
        """Undo a part of `choose`: these jobs are the next ones."""
        self._log.append(_Change(1, -1, 1, chosen))
        for line, head in reversed(chosen):
            line.queued += 1
            line.running -= 1
            for gauge in line.gauges:
                gauge.waiting += 1
                gauge.forget_start()
            self._count_end(line)
            line.due.add(head)
            self._enter(line)
            if line.parked_by is None:
                turns = self.turns[line.rank]
                turns.move_to_end(line.organization, last=False)
                turns[line.organization].move_to_end(line.user_id, last=False)

    def next_head(self) -> float | None:
        """Return `run_at` of a job that has the next turn; None if no job is due that may be claimed."""
        for rank in sorted(self.turns):
            users = next(iter(self.turns[rank].values()))
            return min(line.due.first for line in next(iter(users.values())))[0]
        return None

    def reopens_at(self) -> float | None:
        """Return when a rate allows another attempt (monotonic clock); None if no line waits for that."""
        now = self._monotonic()
        times = [at for gauge in self._gauges.made() if gauge.parked and (at := gauge.reopens_at(now)) is not None]
        return min(times, default=None)

    def _next_lines(self, turns: Turns, most: int) -> list[Line]:
        """Return the lines of a round, up to `most`, and put them at the end of the turns."""
        if len(turns) == 1:
            (users,) = turns.values()
            round_ = list(islice(users.items(), most))
            if len(round_) < len(users):
                for user_id, _ in round_:
                    users.move_to_end(user_id)
            return [lines[0] if len(lines) == 1 else min(lines, key=_first) for _, lines in round_]
        found = []
        for organization, users in list(islice(turns.items(), most)):
            user_id, lines = next(iter(users.items()))
            users.move_to_end(user_id)
            turns.move_to_end(organization)
            found.append(lines[0] if len(lines) == 1 else min(lines, key=_first))
        return found

    def _take(self, line: Line, now: float) -> Head:
        head = line.due.take_first()
        line.queued -= 1
        line.running += 1
        if line.gauges:
            line.count(waiting=-1, running=1, started_at=now)
        if not line.due.times:
            self._leave(line)
        return head

    def _enter(self, line: Line) -> None:
        """Put a line that has due jobs at the end of the turns, if it is not among them."""
        if not line.due.times or line.parked_by is not None:
            return
        turns = self.turns.get(line.rank)
        if turns is None:
            turns = self.turns[line.rank] = OrderedDict()
        users = turns.get(line.organization)
        if users is None:
            users = turns[line.organization] = OrderedDict()
        lines = users.setdefault(line.user_id, [])
        if line not in lines:
            lines.append(line)

    def _leave(self, line: Line) -> None:
        if line.parked_by is not None:
            line.parked_by.parked.pop(line.id, None)
            line.parked_by = None
            return
        turns = self.turns.get(line.rank)
        users = turns.get(line.organization) if turns is not None else None
        lines = users.get(line.user_id) if users is not None else None
        if turns is None or users is None or lines is None or line not in lines:
            return
        lines.remove(line)
        if not lines:
            del users[line.user_id]
        if not users:
            del turns[line.organization]
        if not turns:
            del self.turns[line.rank]

    def _park(self, line: Line, gauge: Gauge) -> None:
        self._leave(line)
        line.parked_by = gauge
        gauge.parked[line.id] = line

    def _unpark(self, now: float) -> bool:
        """Give lines another turn whose gauges have room again, no more than fit; return whether there were any."""
        found = False
        for gauge in [*self._freed, *self._gauges.timed()]:
            places = 0 if gauge.held_by(now) else gauge.places()
            for number in list(gauge.parked)[:places] if gauge.parked else ():
                line = gauge.parked.pop(number)
                line.parked_by = None
                self._enter(line)
                found = True
            if not gauge.parked or not places:
                self._freed.pop(gauge, None)
        return found

    # -- transactions --------------------------------------------------------------------------------------

    def begin(self) -> None:
        """Forget how to undo: what was done is on disk."""
        self._log = []

    def rollback(self) -> None:
        """Undo everything since `begin`. The order of turns may have changed."""
        for change in reversed(self._log):
            if change.job_ids and change.running < 0:
                self._held.update((job_id, line) for job_id, (line, _) in zip(change.job_ids, change.jobs, strict=True))
            else:
                for job_id in change.job_ids:
                    del self._held[job_id]
            for line, head in change.jobs:
                self._undo(line, change, head)
        self.begin()

    @contextmanager
    def savepoint(self) -> Iterator[None]:
        """Undo what is done inside if it raises."""
        before = self._log
        self.begin()
        try:
            yield
        except BaseException:
            self.rollback()
            self._log = before
            raise
        self._log = before + self._log

    def _undo(self, line: Line, change: _Change, head: Head | None) -> None:
        line.queued -= change.queued
        line.running -= change.running
        line.count(waiting=-change.queued, running=-change.running)
        self._freed.update((gauge, None) for gauge in line.gauges if gauge.parked)
        if head is not None and change.due:
            (line.due.remove if change.due > 0 else line.due.add)(head)
        if line.due.times:
            self._enter(line)
        else:
            self._leave(line)


def _first(line: Line) -> Head:
    return line.due.first
