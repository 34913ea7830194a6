"""`listen` and `token`: clients of an org-socket server."""

import contextlib
from typing import Annotated

import typer

from worker.cli.output import print_json, print_message


def listen(
    context: typer.Context,
    user: Annotated[str, typer.Option("--user", help="Whose notifications to receive.")],
    count: Annotated[int | None, typer.Option(min=1, help="End after this many notifications.")] = None,
) -> None:
    """Receive notifications as a browser does, one JSON line each."""
    loaded = context.obj.load()
    from worker.cli.event_loop import run_to_end
    from worker.cli.listener import listener_for

    async def receive() -> None:
        listener = listener_for(loaded, user, print_message)
        left = count
        async with contextlib.aclosing(listener.messages()) as messages:
            async for received in messages:
                print_json({"event": received.event, "message": received.message, "user": received.user})
                left = None if left is None else left - 1
                if left == 0:
                    return

    run_to_end(receive())


def token(
    context: typer.Context,
    user: Annotated[str, typer.Option("--user", help="The user it is for.")],
    publish: Annotated[bool, typer.Option("--publish", help="May send notifications: for workers.")] = False,
    days: Annotated[float, typer.Option(min=0.001, max=3650, help="How many days it is valid.")] = 30.0,
) -> None:
    """Print a JWT for the hub."""
    loaded = context.obj.load()
    from worker.cli.listener import token_for

    print(token_for(loaded, user, publish=publish, days=days))
