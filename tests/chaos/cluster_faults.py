"""The faults of a run with several workers: each hits one part, lasts for a while, and leaves the part healthy."""

import asyncio
import contextlib
import time

from tests.chaos.cluster_scene import Cluster, Place, start_again
from tests.chaos.fault_runner import Fault, FaultRunner, after, pause
from tests.chaos.plan import Strike
from worker.stores.postgres.lease import LEASE_SECONDS

_ACROSS_LEASES = 4.0
"""Times that a worker is suspended longer than a hub: from far below to beyond the leases of 6 and 10 s."""
_BEYOND = 3.0
"""Seconds for which a worker stays cut off after its lease."""


class ClusterFaults(FaultRunner):
    """Carries out strikes on a cluster."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        super().__init__(self._table())

    def _table(self) -> dict[str, tuple[str, Fault]]:
        worker, hub = "worker-{worker}", "hub-{hub}"
        return {
            "kill-worker": (worker, lambda strike: after(self._place(strike).worker.kill())),
            "stop-worker": (worker, lambda strike: after(self._place(strike).worker.restart())),
            "pause-worker": (worker, self._pause_worker),
            "kill-one-hub": (hub, self._kill_hub),
            "pause-one-hub": (hub, self._pause_hub),
            "kill-redis": ("redis", lambda _: self._kill_redis()),
            "pause-redis": ("redis", self._pause_redis),
            "kill-postgres": ("postgres", self._kill_postgres),
            "pause-postgres": ("postgres", self._pause_postgres),
            "cut-off-relay": ("cut", self._cut_off_relay),
            "clients-cut": ("clients", lambda _: self._cut_clients()),
            "hub-line-cut": ("line-{worker}", self._cut_line),
        }

    def _place(self, strike: Strike) -> Place:
        return self._cluster.places[strike.worker]

    async def _pause_worker(self, strike: Strike) -> bool:
        place = self._place(strike)
        async with place.worker.restarting:
            with self._cluster.away_for(place):
                return await pause([place.worker.process.pid], strike.hold * _ACROSS_LEASES)

    async def _kill_hub(self, strike: Strike) -> bool:
        hub = self._cluster.hubs[strike.worker % 2]
        if hub.is_running:
            hub.kill()
        await start_again(hub)
        return True

    async def _pause_hub(self, strike: Strike) -> bool:
        return await pause([self._cluster.hubs[strike.worker % 2].pid], strike.hold)

    async def _kill_redis(self) -> bool:
        self._cluster.redis.kill()
        await asyncio.to_thread(self._cluster.redis.start)
        return True

    async def _pause_redis(self, strike: Strike) -> bool:
        process = self._cluster.redis.process
        return process is not None and await pause([process.pid], strike.hold)

    async def _kill_postgres(self, strike: Strike) -> bool:
        with self._cluster.away_for(*self._cluster.places):
            await asyncio.to_thread(self._cluster.postgres.kill)
            await asyncio.sleep(strike.hold / 2)
            await self._start_postgres()
        return True

    async def _start_postgres(self) -> None:
        """Start it as soon as the last of the processes that were killed has let go of its memory."""
        async with asyncio.timeout(120):
            while True:
                with contextlib.suppress(RuntimeError):
                    return await asyncio.to_thread(self._cluster.postgres.start)
                await asyncio.sleep(0.2)

    async def _pause_postgres(self, strike: Strike) -> bool:
        with self._cluster.away_for(*self._cluster.places):
            return await pause(self._cluster.postgres.processes(), strike.hold)

    async def _cut_clients(self) -> bool:
        for client in self._cluster.clients:
            client.cut()
        return True

    async def _cut_line(self, strike: Strike) -> bool:
        self._place(strike).line.reset()
        return True

    async def _cut_off_relay(self, strike: Strike) -> bool:
        """Cut the worker that sends from PostgreSQL until its lease is over, and make its link send again then.

        Half of the times its hub stops confirming first, so that it has something to send again.
        """
        place = await self._relay()
        if place is None:
            return False
        async with place.worker.restarting:
            if strike.spread < 0.5:
                place.line.stall()
                await asyncio.sleep(0.5)
            with self._cluster.away_for(place, lease=LEASE_SECONDS):
                place.network.cut_database()
                await asyncio.sleep(LEASE_SECONDS + 0.5)
                place.line.reset()
                await asyncio.sleep(_BEYOND + strike.hold)
            place.network.join_database()
        return True

    async def _relay(self) -> Place | None:
        until = time.monotonic() + 20.0
        while time.monotonic() < until:
            place = await self._cluster.holder()
            with contextlib.suppress(AssertionError):
                if place is not None and place.worker.process.is_running and not place.worker.restarting.locked():
                    return place
            await asyncio.sleep(0.2)
        return None
