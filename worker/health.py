"""How the service is, in a form that can fail: for probes, people, and the pages."""

from dataclasses import asdict

from worker.door.status import Entry, Health
from worker.errors import WorkerError
from worker.observation import connection_of
from worker.orgsocket.link import State
from worker.parts import Parts

_STALE_BEAT = 5.0
"""Seconds without a heartbeat of the loop after which the service is not alive."""


async def health_of(parts: Parts) -> Health:
    """A health that can fail: alive by the loop's heartbeat, ready by store and claiming, never by the hub."""
    beat = parts.clock.monotonic() - parts.pulse.last
    alive = parts.pulse.last == 0.0 or beat < _STALE_BEAT
    entries: dict[str, Entry] = {"loop": Entry("Healthy" if alive else "Unhealthy", data={"beatAge": round(beat, 3)})}
    try:
        figures = await parts.store.figures()
    except WorkerError as exc:
        entries["queue"] = Entry("Unhealthy", str(exc))
    else:
        full = figures.full
        entries["queue"] = Entry(
            "Degraded" if full else "Healthy",
            "the store is full" if full else "",
            {
                "jobs": dict(figures.jobs),
                "oldestJobAge": figures.oldest_job_age,
                "running": parts.worker.running,
                "concurrency": parts.worker.concurrency,
                "sizeBytes": figures.size_bytes,
                "maxBytes": figures.max_bytes,
            },
        )
        entries["outbox"] = Entry(
            "Degraded" if figures.outbox_dead else "Healthy",
            data={"depth": figures.outbox_depth, "dead": figures.outbox_dead, "oldestAge": figures.oldest_outbox_age},
        )
    problem, reloads = parts.renewal.problem, parts.renewal.outcome
    entries["settings"] = Entry(
        "Degraded" if problem else "Healthy",
        f"reload refused: {problem}" if problem else "",
        {"reloads": reloads.succeeded, "failedReloads": reloads.failed},
    )
    link = connection_of(parts.channel, parts.worker.executor.redact)
    entries["link"] = Entry("Healthy" if link["state"] == State.CONNECTED else "Degraded", data=link)
    if parts.hub is not None:
        entries["hub"] = Entry("Healthy", data=asdict(parts.hub.figures(clients=False)))
    draining = parts.stopping.event.is_set()
    ready = entries["queue"].status != "Unhealthy" and alive and not draining and parts.started.is_set()
    return Health(alive=alive, ready=ready, started=parts.started.is_set(), entries=entries)
