"""Submits jobs to the services of a run until they have enough."""

import asyncio
import random

from tests.chaos.service import ChaosService


class Producers:
    """One producer for each service."""

    def __init__(self) -> None:
        self._enough = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    def start(self, service: ChaosService, seed: str, pause: float) -> None:
        """Submit jobs to the service every `pause` seconds, in a random order that the seed decides."""
        self._tasks.append(asyncio.create_task(service.produce(random.Random(seed), pause, self._enough)))

    async def finish(self) -> None:
        """Submit no more, and wait for the responses to what was submitted.

        A request whose response is no longer awaited may still be carried out, after the store was seen to be empty.
        """
        self._enough.set()
        await asyncio.gather(*self._tasks)

    async def cancel(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
