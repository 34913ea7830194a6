"""Messages for an inbox of the hub, and its answers."""

import asyncio
from collections.abc import Callable
from typing import Any

import orjson

from worker.hub.messages import Message, read_message


def news(number: int) -> Message:
    """A notification for ann."""
    array = ["event", {"success": True, "message": "", "payload": {"notificationId": f"n{number}"}}, {"userId": "ann"}]
    return read_message(array, orjson.dumps(array))


async def ask(method: Callable[..., None], *arguments: Any) -> Any:
    """Call a method that answers by a callback, its last argument; return the answer."""
    answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    method(*arguments, answer.set_result)
    return await answer
