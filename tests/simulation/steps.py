"""The steps of a simulation, drawn from its seed."""

import asyncio
import random
from collections.abc import Awaitable, Callable

from tests.simulation.world import World

Step = Callable[[World], Awaitable[None]]
_JUMPS = (3600.0, -3600.0, 86400.0, -86400.0, 31 * 86400.0, 34 * 365 * 86400.0, -56 * 365 * 86400.0)
_KINDS = {"quick": 60, "slow": 12, "spawned": 8, "flaky": 4, "failing": 2, "invalid": 2}
"""How often each kind is submitted. Failures take the longest, because of their stack traces."""


def _ordinary(world: World, count: int) -> list[str]:
    return world.chance.choices(list(_KINDS), list(_KINDS.values()), k=count)


async def _submit(world: World) -> None:
    world.in_background(world.submit(_ordinary(world, world.chance.randint(1, 2))))


async def _submit_deadly(world: World) -> None:
    world.in_background(world.submit([*_ordinary(world, 1), "deadly"]))


async def _kill(world: World) -> None:
    await world.kill_service()
    await asyncio.sleep(world.chance.uniform(0.0, 0.5))
    await world.start_service()


async def _kill_in_commit(world: World) -> None:
    """Kill while something is being synced."""
    world.in_background(world.submit(["quick"] * world.chance.randint(1, 3)))
    await asyncio.sleep(world.disk.sync_seconds * world.chance.uniform(0.0, 1.5))
    await _kill(world)


async def _kill_twice(world: World) -> None:
    """Kill it again while it recovers."""
    await _kill(world)
    await asyncio.sleep(world.disk.sync_seconds * world.chance.uniform(0.0, 4.0))
    await _kill(world)


async def _reboot(world: World) -> None:
    await world.kill_service(reboot=True)
    await asyncio.sleep(1.0)
    await world.start_service()


async def _restart(world: World) -> None:
    await world.stop_service()
    await world.start_service()


async def _cut(world: World) -> None:
    world.network.cut()


async def _silence(world: World) -> None:
    async def end() -> None:
        await asyncio.sleep(world.chance.uniform(0.1, 5.0))
        world.network.is_silent = False
        world.network.cut()

    if not world.network.is_silent:
        world.network.is_silent = True
        world.in_background(end())


async def _refuse(world: World) -> None:
    async def end() -> None:
        await asyncio.sleep(world.chance.uniform(0.1, 5.0))
        world.network.is_refusing = False

    if not world.network.is_refusing:
        world.network.is_refusing = True
        world.network.cut()
        world.in_background(end())


async def _slow_network(world: World) -> None:
    world.network.delay = world.chance.choice((0.0005, 0.001, 0.02, 0.2))


async def _slow_disk(world: World) -> None:
    world.disk.sync_seconds = world.chance.choice((0.0005, 0.002, 0.05, 0.3))


async def _full_disk(world: World) -> None:
    async def end() -> None:
        await asyncio.sleep(world.chance.uniform(0.1, 3.0))
        world.disk.fill(is_full=False)

    world.disk.fill(is_full=True)
    world.in_background(end())


async def _crash_server(world: World) -> None:
    async def end() -> None:
        await asyncio.sleep(world.chance.uniform(0.1, 2.0))
        if world.config.with_hub:
            if not world.hub.is_up:
                await world.hub.start(world.machine.next_process())
        else:
            world.foreign.is_up = True

    if world.config.with_hub:
        if world.hub.is_up:
            for client in world.clients:
                client.cut()
            await world.hub.kill()
            world.network.cut()
            world.in_background(end())
    else:
        world.foreign.crash()
        world.network.cut()
        world.in_background(end())


async def _withhold_acknowledgements(world: World) -> None:
    async def end() -> None:
        await asyncio.sleep(world.chance.uniform(0.5, 6.0))
        world.foreign.acknowledges = True

    world.foreign.acknowledges = False
    world.in_background(end())


async def _poison(world: World) -> None:
    """One of the coming notifications breaks the server's handler; at most two in a run."""
    if world.config.with_poison and len(world.foreign.poison) < 2:
        world.poison_next()


async def _cut_client(world: World) -> None:
    if world.clients:
        world.chance.choice(world.clients).cut()


async def _connect_clients(world: World) -> None:
    for client in world.clients:
        client.connect()


async def _jump(world: World) -> None:
    async def end() -> None:
        await asyncio.sleep(world.chance.uniform(0.1, 120.0))
        world.wall_offset -= jump

    jump = world.chance.choice(_JUMPS)
    world.wall_offset += jump
    world.in_background(end())


async def _jump_before_a_kill(world: World) -> None:
    """Set the clock while a job waits for its retry, and kill the service soon after something was written."""
    world.in_background(world.submit(["flaky"]))
    await asyncio.sleep(world.chance.uniform(0.05, 0.5))
    await _jump(world)
    await _kill_in_commit(world)


async def _prune(world: World) -> None:
    if world.config.with_hub and world.hub.is_up:
        await world.hub.prune()


async def _wait(world: World) -> None:
    await asyncio.sleep(world.chance.uniform(0.5, 5.0))


_WEIGHTS: dict[Step, float] = {
    _submit: 30,
    _submit_deadly: 0.3,
    _kill: 3,
    _kill_in_commit: 3,
    _kill_twice: 1,
    _reboot: 1,
    _restart: 2,
    _cut: 5,
    _silence: 2,
    _refuse: 2,
    _slow_network: 2,
    _slow_disk: 2,
    _full_disk: 1,
    _crash_server: 4,
    _withhold_acknowledgements: 1,
    _poison: 2,
    _cut_client: 4,
    _connect_clients: 6,
    _jump: 1,
    _jump_before_a_kill: 0.3,
    _prune: 1,
    _wait: 2,
}


async def take_steps(world: World, chance: random.Random, count: int) -> None:
    """Take so many steps, with time between them."""
    faults = {_cut, _silence, _refuse, _crash_server, _withhold_acknowledgements} if world.config.with_poison else set()
    weights = [0.0 if step in faults else weight for step, weight in _WEIGHTS.items()]
    for step in chance.choices(list(_WEIGHTS), weights, k=count):
        world.trace.update(step.__name__.encode())
        await step(world)
        await asyncio.sleep(chance.expovariate(10.0))
