"""`db`: check the store, back it up, bring its schema up to date, recover a damaged one."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from worker.cli.output import PROGRAM, print_message, print_warning

if TYPE_CHECKING:
    from rich.progress import TaskID

db_app = typer.Typer(help="Check, back up, migrate, move and recover the store.", rich_markup_mode=None)


@db_app.command("check")
def check_store(context: typer.Context) -> None:
    """Read the whole store and report whether it is sound."""
    loaded = context.obj.load()
    import asyncio

    from worker.service import standalone

    asyncio.run(standalone.check_store(loaded))
    print_message("the store is sound")


@db_app.command("migrate")
def migrate_store(
    context: typer.Context,
    back: Annotated[bool, typer.Option("--back", help="Take the newest version of the schema back.")] = False,
) -> None:
    """Create the store in a PostgreSQL database, or bring its schema up to date."""
    loaded = context.obj.load()
    import asyncio

    from worker.service import standalone

    before, after = asyncio.run(standalone.migrate_store(loaded, back=back))
    if before == after:
        print_message(f"the store has schema {after} already")
    else:
        print_message(f"the store has schema {after} now" + (f", it had {before}" if before else ""))


@db_app.command("backup")
def back_up_store(
    context: typer.Context,
    folder: Annotated[Path, typer.Argument(help="A new folder; it can take the place of the state directory.")],
) -> None:
    """Copy store, inbox, keys and files while the service runs or not. The copy holds secrets."""
    loaded = context.obj.load()
    from worker.service.backup import back_up_state

    made = back_up_state(loaded, folder)
    for skipped in made.skipped:
        print_warning(f"{skipped} has a store of its own, such as an earlier backup, and was not copied")
    print_message(f"{made.databases} databases and {made.files:,} files ({made.bytes:,} bytes) are in {folder}")


@db_app.command("restore")
def restore_store(
    context: typer.Context,
    backup: Annotated[
        Path | None,
        typer.Argument(
            help="A folder of `db backup`, or a backup of queue.db. Without it, the store goes on as it is."
        ),
    ] = None,
) -> None:
    """Put a backup in the place of the store, or accept a store that has lost something."""
    loaded = context.obj.load()
    from worker.cli.store_client import keep_owner
    from worker.service.backup import restore_state

    with keep_owner(loaded.state_dir):
        replaced = restore_state(loaded, backup)
    for kept in replaced:
        print_message(f"what was there is kept as {kept}")
    print_message("the next start accepts the store as it is" if backup is None else f"{backup} is the store now")


class _Provider(StrEnum):
    POSTGRES = "postgres"
    SQLITE = "sqlite"


@db_app.command("move")
def move_store(
    context: typer.Context,
    to: Annotated[_Provider, typer.Option("--to", help="Where the store is moved.")] = _Provider.POSTGRES,
) -> None:
    """Move the store from the file Queue:Path into the PostgreSQL database of Queue:ConnectionString, or back."""
    loaded = context.obj.load()
    import asyncio

    from rich.console import Console
    from rich.progress import Progress

    from worker.service import standalone

    with Progress(console=Console(stderr=True)) as bars:
        rows: dict[str, TaskID] = {}

        def show(table: str, done: int, total: int) -> None:
            row = rows.get(table)
            if row is None:
                row = rows[table] = bars.add_task(table, total=total)
            bars.update(row, completed=done)

        counts = asyncio.run(standalone.move_store(loaded, to.value, show))
    kept = "the file is kept as .moved" if to is _Provider.POSTGRES else "the schema is kept as ..._moved"
    print_message(f"{counts['jobs']:,} jobs and {counts['outbox']:,} notifications moved; {kept}")
    if to is _Provider.SQLITE:
        print_message("set Queue:Provider to sqlite and remove Queue:ConnectionString before the next start")


@db_app.command("recover")
def recover_store(context: typer.Context) -> None:
    """Copy what can be read of a damaged store into a new one; the damaged file is kept next to it."""
    loaded = context.obj.load()
    from worker.cli.store_client import keep_owner
    from worker.service import standalone

    with keep_owner(loaded.state_dir):
        saved = standalone.recover_store(loaded)
    print_message(
        f"{saved.jobs:,} jobs and {saved.notifications:,} notifications saved; the damaged file is kept as {saved.kept}"
    )
    if saved.unreadable:
        print_message(f"{saved.unreadable:,} places could not be read; what they held is lost")
    if saved.rewritten:
        print_message(
            f"{saved.rewritten:,} lost notifications were written again: {PROGRAM} notifications list --state dead"
        )
