"""The part of a store's contract for several processes: who else has the store open, and who may do what alone."""

from collections.abc import Callable
from typing import NamedTuple, Protocol, runtime_checkable

from worker.core.events import Emit


class WorkerRecord(NamedTuple):
    """A process that has a shared store open."""

    owner: str
    host: str
    pid: int
    version: str
    kinds: tuple[str, ...] | None
    """The kinds of jobs that it claims; None: all."""
    started_at: float
    seen_at: float
    """When it last gave a sign of life."""
    running: int
    """Jobs that it runs now."""


class Lease(Protocol):
    """The right to do what only one of several processes may do at a time."""

    @property
    def is_held(self) -> bool:
        """Whether this process has the right now. Ends by itself when it could not be renewed in time."""
        ...

    async def wait(self) -> None:
        """Return when this process has the right."""
        ...

    async def run(self) -> None:
        """Acquire the right when it is free and renew it, until cancelled; then give it up."""
        ...


@runtime_checkable
class SharedStore(Protocol):
    """A store that several processes have open at once."""

    async def workers(self) -> list[WorkerRecord]:
        """Return the processes that are alive, the oldest first."""
        ...

    async def tidy(self) -> bool:
        """Remove a part of what processes that are gone, and turns long ago, have left; return whether to go on."""
        ...

    def lease(self, name: str, emit: Emit) -> Lease:
        """Return a right of this name, which all processes compete for; `emit` receives why it cannot be renewed."""
        ...

    def on_cancel(self, listener: Callable[[str], object]) -> None:
        """`listener` is called in the event loop with the id of a running job that was asked to stop, here or in
        another process."""
        ...
