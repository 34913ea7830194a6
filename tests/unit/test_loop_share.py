"""The share of clients that have not proven who they are: a few go on in one turn of the loop, in order."""

import asyncio

from worker.net.loop_share import LoopShare


async def test_only_a_few_go_on_in_one_turn_of_the_loop_and_the_others_in_order() -> None:
    share, order, turns = LoopShare(per_turn=3), list[int](), list[int]()
    turn = 0

    async def client(number: int) -> None:
        await share.turn()
        order.append(number)
        turns.append(turn)

    clients = [asyncio.create_task(client(number)) for number in range(20)]
    while not all(task.done() for task in clients):
        await asyncio.sleep(0)
        turn += 1
    assert order == list(range(20))
    assert max(turns.count(one) for one in turns) <= 3


async def test_client_that_asks_again_waits_behind_those_that_wait() -> None:
    share, order = LoopShare(per_turn=1), list[str]()

    async def client(name: str, times: int) -> None:
        for _ in range(times):
            await share.turn()
            order.append(name)

    await asyncio.gather(client("greedy", 50), client("a", 1), client("b", 1))
    assert {order.index("a"), order.index("b")} <= {0, 1, 2, 3}
    assert order.count("greedy") == 50


async def test_exception_in_a_turn_stops_no_other_client() -> None:
    share, errors = LoopShare(per_turn=1), list[object]()
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: errors.append(context["exception"]))

    def fail() -> bool:
        raise ValueError("one client's")

    await share.turn()
    share.call(fail)
    clients = [asyncio.create_task(share.turn()) for _ in range(3)]
    await asyncio.wait_for(asyncio.gather(*clients), 30)
    await asyncio.wait_for(share.turn(), 30)
    assert [str(error) for error in errors] == ["one client's"]


async def test_turn_of_a_client_that_has_left_goes_to_the_next() -> None:
    share = LoopShare(per_turn=1)
    clients = [asyncio.create_task(share.turn()) for _ in range(10)]
    await asyncio.sleep(0)
    left = clients.pop(7)
    left.cancel()
    await asyncio.wait_for(asyncio.gather(*clients), 30)
    assert left.cancelled()
