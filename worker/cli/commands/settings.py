"""`config`: show and check the settings."""

from typing import Final

import typer

from worker.cli.commands.jobs import AsJson
from worker.cli.output import Column, print_message, print_rows

config_app = typer.Typer(help="Show and check the settings.", rich_markup_mode=None)

_COLUMNS: Final = (
    Column("key", "key", overflow="fold"),
    Column("value", "value", overflow="fold"),
    Column("unit", "unit"),
    Column("origin", "origin", overflow="fold"),
)


@config_app.command("show")
def show_settings(context: typer.Context, as_json: AsJson = False) -> None:
    """List every setting with its value, its unit and its origin; secrets are masked."""
    loaded = context.obj.load()
    from config.show import rows

    found = [{"key": row.key, "value": row.value, "unit": row.unit, "origin": str(row.origin)} for row in rows(loaded)]
    print_rows(found, _COLUMNS, as_json=as_json)


@config_app.command("check")
def check_settings(context: typer.Context) -> None:
    """Report every fault of the settings; exit 78 when there is one."""
    loaded = context.obj.load()
    from worker.service import factories

    factories.discover_handlers(loaded.settings)
    files = ", ".join(str(path) for path in loaded.files) or "no file: defaults"
    print_message(f"the settings are valid ({loaded.environment}; {files})")
