"""A model of a store in plain Python, without disk, threads or SQL. Every store must give the same answers."""

from dataclasses import dataclass, field

from worker.core.job import Job, NewJob
from worker.core.store import Settlement


@dataclass
class ModelJob:
    new: NewJob
    place: int
    """Order of acceptance."""
    state: str = "queued"
    run: int = 1
    attempt: int = 0
    claims: int = 0
    owner: str | None = None
    run_at: float = 0.0
    waits: bool = False
    """Not due before the first claim at its `run_at` or later. Until that claim, a clock that is set back makes it wait
    again; after it, no clock does."""
    backs_off: bool = False
    """Waits for a while rather than until a time."""
    suspect: bool = False
    cancel_requested: bool = False


@dataclass
class ModelMessage:
    id: int
    job_id: str
    run: int
    user_id: str
    sequence: int
    created_at: float
    dead: bool = False
    redelivery: int = 0


Turn = tuple[int, int, str | None, str | None]
"""Level (0 organisations, 1 their users), priority, organisation, user."""


def _turn_of(job: ModelJob, level: int) -> Turn:
    return level, job.new.priority, job.new.organization, job.new.user_id if level else None


def _is_in_line_with(other: ModelJob, job: ModelJob) -> bool:
    return _turn_of(other, 1) == _turn_of(job, 1)


@dataclass
class ModelStore:
    owner: str
    jobs: dict[str, ModelJob] = field(default_factory=dict)
    messages: list[ModelMessage] = field(default_factory=list)
    watermark: int = 0
    last_message: int = 0
    accepted: int = 0
    sequences: dict[str, int] = field(default_factory=dict)
    paused: set[str] = field(default_factory=set)
    owed: dict[Turn, set[Turn]] = field(default_factory=dict)
    """For each organisation and user: who else must have a turn before its next one."""
    notified: list[tuple[str, int]] = field(default_factory=list)
    """(job, run) of every notification that was ever written."""

    def enqueue(self, new: NewJob, now: float) -> tuple[str, str, str]:
        for job in self.jobs.values():
            if new.key is not None and job.new.key == new.key:
                return job.new.id, "existing" if job.new.payload == new.payload else "conflict", job.state
        self.accepted += 1
        waits = new.run_at > max(now, new.created_at)
        self.jobs[new.id] = ModelJob(new, self.accepted, run_at=new.run_at, waits=waits)
        return new.id, "created", "queued"

    def observe(self) -> None:
        """Owners without a due job lose their claim to the next turn; to be called after every operation."""
        due = self.due()
        for level in (0, 1):
            owners = {_turn_of(job, level) for job in due}
            self.owed = {
                turn: {other for other in others if turn[0] != level or other in owners}
                for turn, others in self.owed.items()
            }

    def look_at_the_clock(self, now: float) -> None:
        """Find the jobs whose time has come, as each claim does first."""
        for job in self.jobs.values():
            job.waits = job.waits and job.run_at > now

    def due(self) -> list[ModelJob]:
        waiting = [job for job in self.jobs.values() if job.state == "queued"]
        due = [job for job in waiting if not job.waits and job.new.kind not in self.paused]
        return sorted(due, key=lambda job: (-job.new.priority, job.run_at, job.place))

    def held(self) -> list[ModelJob]:
        return [job for job in self.jobs.values() if job.state == "running" and job.owner == self.owner]

    def claimed(self, ids: list[str], limit: int, now: float) -> None:
        """Carry out a claim of these jobs; fails unless a store may answer it so."""
        if any(job.suspect for job in self.held()):
            assert ids == []
            return
        self.look_at_the_clock(now)
        for number, job_id in enumerate(ids):
            job, due = self.jobs[job_id], self.due()
            assert job in due
            assert job.new.priority == due[0].new.priority
            assert job is next(other for other in due if _is_in_line_with(other, job))
            if job.suspect:
                assert (number, len(ids), self.held()) == (0, 1, [])
            self._take_turns(job, due)
            job.state, job.owner, job.waits = "running", self.owner, False
            job.attempt += 1
            job.claims += 1
            self.observe()
        left = self.due()
        assert len(ids) == limit or not left or any(job.suspect for job in (*left, *self.held()))
        assert ids or not left or limit == 0 or self.held()

    def _take_turns(self, job: ModelJob, due: list[ModelJob]) -> None:
        """Give the owner its turn. It has a second one only after those that were due at the first one had theirs."""
        for level in (0, 1):
            mine = _turn_of(job, level)
            assert not self.owed.get(mine)
            for others in self.owed.values():
                others.discard(mine)
            turns = {_turn_of(other, level) for other in due if other.new.priority == job.new.priority}
            same = {turn for turn in turns if level == 0 or turn[2] == mine[2]}
            self.owed[mine] = same - {mine}

    def holds(self, job: Job) -> bool:
        mine = self.jobs.get(job.id)
        return mine is not None and (mine.state, mine.owner, mine.claims) == ("running", job.owner, job.claim)

    def settle(self, settlement: Settlement, now: float, state: str) -> bool:
        job = settlement.attempt.job
        if not self.holds(job):
            return False
        mine = self.jobs[job.id]
        mine.state, mine.suspect = state, False
        if state != "queued":
            self.notify(mine, settlement.attempt.finished_at)
        return True

    def back_off(self, job_id: str, run_at: float, now: float, *, suspect: bool) -> None:
        job = self.jobs[job_id]
        job.run_at, job.suspect = run_at, suspect
        job.waits = job.backs_off = run_at > now

    def release(self, job: Job, *, suspect: bool) -> None:
        if self.holds(job):
            mine = self.jobs[job.id]
            mine.state, mine.owner = "queued", None
            mine.attempt -= 1
            mine.suspect = mine.suspect or suspect
            mine.waits = mine.backs_off = False

    def cancel(self, job_id: str, run: int, now: float) -> str:
        job = self.jobs.get(job_id)
        if job is None:
            return "unknown"
        if job.run != run:
            return "changed"
        if job.state == "running":
            job.cancel_requested = True
            return "requested"
        if job.state != "queued":
            return "ended"
        job.state, job.suspect = "cancelled", False
        self.notify(job, now)
        return "cancelled"

    def retry(self, job_id: str, now: float) -> str:
        job = self.jobs.get(job_id)
        if job is None:
            return "unknown"
        if job.state in ("queued", "running"):
            return "active"
        job.state, job.attempt, job.run_at = "queued", 0, now
        job.run += 1
        job.waits = job.backs_off = job.suspect = job.cancel_requested = False
        return "queued"

    def set_back(self, seconds: float) -> None:
        for job in self.jobs.values():
            if job.state == "queued" and job.backs_off and job.waits:
                job.run_at -= seconds

    def notify(self, job: ModelJob, at: float) -> None:
        user = job.new.user_id
        self.sequences[user] = self.sequences.get(user, 0) + 1
        self.last_message += 1
        message = ModelMessage(self.last_message, job.new.id, job.run, user, self.sequences[user], at)
        self.messages.append(message)
        self.notified.append((job.new.id, job.run))

    def is_pending(self, message: ModelMessage) -> bool:
        return message.id > self.watermark and not message.dead

    def pending(self) -> list[ModelMessage]:
        return [message for message in self.messages if self.is_pending(message)]

    def delivered(self, up_to: int) -> None:
        self.watermark = max(self.watermark, min(up_to, self.last_message))

    def dead(self, message_id: int) -> None:
        for message in self.messages:
            if message.id == message_id and self.is_pending(message):
                message.dead = True

    def resend(self, job_id: str, run: int, now: float) -> int | None:
        for message in self.messages:
            if (message.job_id, message.run) == (job_id, run):
                if not self.is_pending(message):
                    self.messages.remove(message)
                    self.last_message += 1
                    message.id, message.dead, message.created_at = self.last_message, False, now
                    message.redelivery += 1
                    self.messages.append(message)
                return message.id
        return None

    def prune(self) -> int:
        old = [message for message in self.messages if not self.is_pending(message)]
        for message in old:
            self.messages.remove(message)
            job = self.jobs.get(message.job_id)
            if job is not None and job.run == message.run and job.state not in ("queued", "running"):
                del self.jobs[message.job_id]
        return len(old)

    def counts(self) -> dict[str, int]:
        states = ("queued", "running", "succeeded", "failed", "cancelled")
        return {state: sum(1 for job in self.jobs.values() if job.state == state) for state in states}
