"""Runs one seed, and judges it."""

import random
from dataclasses import dataclass

from tests.simulation.loop import run_simulated
from tests.simulation.steps import take_steps
from tests.simulation.store import simulated_storage
from tests.simulation.world import Config, World
from tests.support.history.events import Event
from tests.support.history.judge import Verdict, judge

STEPS = 200


@dataclass(frozen=True, slots=True)
class Result:
    """What a seed led to."""

    seed: int
    verdict: Verdict
    trace: str
    """The same for the same seed: a hash of everything that was seen, in order and with its time."""
    events: list[Event]


def run_seed(seed: int, steps: int = STEPS) -> Result:
    """Run one seed from its beginning to its end."""

    async def run() -> Result:
        chance = random.Random(seed)
        kind = chance.random()
        world = World(chance, Config(with_hub=kind < 0.5, with_poison=kind > 0.85))
        with simulated_storage(world.disk):
            try:
                await world.start()
                await take_steps(world, random.Random(-seed - 1), steps)
                events = await world.finish()
                if world.failures:
                    raise world.failures[0]
            finally:
                await world.close()
        return Result(seed, judge(events, max_attempts=3), world.trace.hexdigest(), events)

    result: Result = run_simulated(run)
    return result
