"""Who hears of what happens."""

from collections.abc import Callable

from worker.events import Emit


class Emitter:
    """Hands every event to every listener; a listener that fails is left out of it, never the flow."""

    def __init__(self, *listeners: Emit) -> None:
        self._listeners: list[tuple[Emit, tuple[type, ...]]] = [(listener, ()) for listener in listeners]
        self._routes: dict[type, list[Emit]] = {}
        """Who hears what, looked up once: most events are for few, and some come ten thousand times a second."""

    def add(self, listener: Emit, *kinds: type) -> Callable[[], None]:
        """From now on it hears every event, or those of these kinds alone. Calling what this gives ends it."""
        entry = (listener, kinds)
        self._listeners.append(entry)
        self._routes.clear()

        def remove() -> None:
            self._listeners.remove(entry)
            self._routes.clear()

        return remove

    def _route(self, kind: type) -> list[Emit]:
        route = self._routes[kind] = [listen for listen, kinds in self._listeners if not kinds or kind in kinds]
        return route

    def __call__(self, event: object) -> None:
        route = self._routes.get(event.__class__)
        for listener in self._route(event.__class__) if route is None else route:
            try:  # noqa: SIM105 -- contextlib.suppress costs more than most listeners do
                listener(event)
            except Exception:  # noqa: BLE001, S110 -- a listener's fault is not the flow's
                pass
