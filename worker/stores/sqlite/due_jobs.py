"""The due jobs of one line, in memory."""

from array import array
from bisect import bisect_left, bisect_right

Head = tuple[float, int]
"""`run_at` and `seq` of a job, which sort it within its line."""

_MOST_TAKEN = 1024
"""Entries of jobs that were taken out, after which the arrays are shortened if they are mostly such entries."""


class DueJobs:
    """Sorted by `run_at`, then `seq`. 16 bytes a job, so that all due jobs of a store fit in memory.

    Adding at the end and taking out at the beginning, which is what nearly always happens, cost the same however many
    there are; elsewhere a part of the arrays is moved (8 MB for a line of a million jobs, about a millisecond).
    """

    __slots__ = ("_seqs", "_start", "times")

    def __init__(self) -> None:
        self.times = array("d")
        """Empty if there are no jobs, which is cheaper to ask than `len`."""
        self._seqs = array("q")
        self._start = 0
        """Entries before it were taken out."""

    def __len__(self) -> int:
        return len(self.times) - self._start

    @property
    def first(self) -> Head:
        """The first job; there must be one."""
        return self.times[self._start], self._seqs[self._start]

    @property
    def first_time(self) -> float | None:
        """`run_at` of the first job, None: there is none. For any thread, while the writer's changes the jobs."""
        try:
            return self.times[self._start]
        except IndexError:
            return None

    def add(self, head: Head) -> None:
        """Add a job that is not there yet."""
        run_at, seq = head
        times, seqs, start = self.times, self._seqs, self._start
        if not times or run_at > times[-1] or (run_at == times[-1] and seq > seqs[-1]):
            times.append(run_at)
            seqs.append(seq)
        elif start and head < (times[start], seqs[start]):
            self._start = start = start - 1
            times[start], seqs[start] = run_at, seq
        else:
            place = self._place(run_at, seq)
            times.insert(place, run_at)
            seqs.insert(place, seq)

    def take_first(self) -> Head:
        """Take out the first job; there must be one."""
        times, seqs, start = self.times, self._seqs, self._start
        head = (times[start], seqs[start])
        start += 1
        if start == len(times):
            del times[:], seqs[:]
            start = 0
        elif start >= _MOST_TAKEN and start * 2 > len(times):
            del times[:start], seqs[:start]
            start = 0
        self._start = start
        return head

    def remove(self, head: Head) -> None:
        """Take out a job; raises ValueError if it is not there."""
        run_at, seq = head
        place = self._place(run_at, seq)
        if place == len(self.times) or (self.times[place], self._seqs[place]) != head:
            raise ValueError(f"job {seq} is not among the due jobs of its line")
        del self.times[place], self._seqs[place]
        if self._start == len(self.times):
            del self.times[:], self._seqs[:]
            self._start = 0

    def _place(self, run_at: float, seq: int) -> int:
        low = bisect_left(self.times, run_at, self._start)
        return bisect_left(self._seqs, seq, low, bisect_right(self.times, run_at, low))
