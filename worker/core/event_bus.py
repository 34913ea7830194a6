"""Distributes events to listeners, which observe what happened and cannot change it."""

import sys
import traceback
from collections import Counter
from collections.abc import Callable

from worker.core.events import Emit, ListenerFailed


class EventBus:
    """Passes each event to its listeners, in the order in which they were added.

    A listener that raises stops neither the caller nor the other listeners. Each of its failures is counted and
    reported as a ListenerFailed event, whose `first` says whether it is the listener's first.
    """

    def __init__(self, *listeners: Emit) -> None:
        """Add `listeners` for every event."""
        self.failures: Counter[str] = Counter()
        """How often each listener has raised, by its name."""
        self._listeners: list[tuple[Emit, tuple[type, ...]]] = [(listener, ()) for listener in listeners]
        self._routes: dict[type, list[Emit]] = {}
        """The listeners of each class of event, looked up once: some events come ten thousand times a second."""
        self._reporting = False

    def add(self, listener: Emit, *classes: type) -> Callable[[], None]:
        """Pass every event from now on to the listener, or only those of `classes`; return what removes it."""
        entry = (listener, classes)
        self._listeners.append(entry)
        self._routes.clear()

        def remove() -> None:
            self._listeners.remove(entry)
            self._routes.clear()

        return remove

    def __call__(self, event: object) -> None:
        """Pass the event to its listeners. Never raises."""
        route = self._routes.get(event.__class__)
        for listener in self._route(event.__class__) if route is None else route:
            try:
                listener(event)
            except Exception as exc:  # noqa: BLE001 -- a listener observes: its faults must not reach the caller
                self._report(listener, exc)

    def _route(self, event_class: type) -> list[Emit]:
        route = [listener for listener, classes in self._listeners if not classes or event_class in classes]
        self._routes[event_class] = route
        return route

    def _report(self, listener: Emit, error: Exception) -> None:
        name = _name_of(listener)
        self.failures[name] += 1
        if self._reporting:  # the listener that should log it raises as well
            traceback.print_exception(error, file=sys.stderr)
            return
        self._reporting = True
        try:
            self(ListenerFailed(name, error, first=self.failures[name] == 1))
        finally:
            self._reporting = False


def _name_of(listener: Emit) -> str:
    """Return the name of a function or method with its module, or of an object's class."""
    named = listener if hasattr(listener, "__qualname__") else type(listener)
    return f"{named.__module__}.{named.__qualname__}"
