"""`doctor`: examines this machine, the service, and org-socket servers; collects what a supporter needs."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from worker.cli.output import print_json, print_message

doctor_app = typer.Typer(help="Examine what the service depends on.", rich_markup_mode=None)


@doctor_app.callback(invoke_without_command=True)
def examine_machine(
    context: typer.Context,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object at the end.")] = False,
) -> None:
    """Examine settings, files, store, disk, clock, limits, unit and service; exit 0 when nothing failed."""
    if context.invoked_subcommand is not None:
        return
    from config.errors import ConfigError
    from worker.cli import doctor_machine
    from worker.cli.doctor_table import table_printer

    show = (lambda _: None) if as_json else table_printer()
    try:
        checks = doctor_machine.examine(context.obj.read(), show)
    except ConfigError as exc:
        checks = [doctor_machine.faulty_settings(exc)]
        show(checks[0])
    code = doctor_machine.exit_code(checks)
    if as_json:
        print_json({"healthy": code == 0, "checks": checks})
    raise typer.Exit(code)


@doctor_app.command("bundle")
def write_bundle(
    context: typer.Context,
    file: Annotated[Path | None, typer.Argument(help="A new file; else a name with the time.")] = None,
) -> None:
    """Write a ZIP file for a supporter: findings, settings, versions, figures, warnings of the log; no secrets."""
    to = file or Path(f"insignia-worker-{datetime.now(UTC):%Y%m%dT%H%M%SZ}.zip")
    if to.exists():
        raise _exists(to)
    loaded = context.obj.read()
    from worker.cli import bundle, doctor_machine
    from worker.service.factories import secrets_in

    checks = doctor_machine.examine(loaded, lambda _: None)
    try:
        names = bundle.write_bundle(loaded, checks, secrets_in(loaded.settings), to)
    except FileExistsError:
        raise _exists(to) from None
    print_message(f"{to} has {', '.join(names)}; secrets are masked. Look through it before you give it away")


def _exists(file: Path) -> typer.BadParameter:
    return typer.BadParameter(f"{file} exists already: name a new file")


@doctor_app.command("ws")
def examine_server(
    context: typer.Context,
    url: Annotated[str | None, typer.Argument(help="The server; else WebSocket:Url.")] = None,
    token: Annotated[
        str | None, typer.Option(help="Else WebSocket:Token or TokenFile, else one signed with the hub's key.")
    ] = None,
    user: Annotated[str | None, typer.Option(help="Receiver of the test notification; else the token's sub.")] = None,
    listener_token: Annotated[str | None, typer.Option(help="A token of that user, to see whether it arrives.")] = None,
    publish: Annotated[
        bool | None,
        typer.Option("--publish/--no-publish", help="Send a test notification; else if the token's scope allows it."),
    ] = None,
    namespace: Annotated[str | None, typer.Option(help="Else WebSocket:Namespace.")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Do not wait for the server's own ping.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object at the end.")] = False,
) -> None:
    """Test any org-socket server; exit 69 when it cannot be reached, 65 when it does not behave as it should."""
    loaded = context.obj.load()
    from worker.cli import doctor
    from worker.cli.doctor_table import table_printer

    try:
        address = doctor.server_address(url or loaded.settings.web_socket.url)
    except ValueError as exc:
        raise typer.BadParameter(str(exc)) from None
    options = {"user": user, "listener_token": listener_token, "publish": publish, "wait_for_ping": not quick}
    target = doctor.target_for(loaded, address, token, namespace=namespace, **options)
    checks = doctor.run(target, (lambda _: None) if as_json else table_printer())
    if as_json:
        print_json({"url": address, "healthy": doctor.exit_code(checks) == 0, "checks": checks})
    raise typer.Exit(doctor.exit_code(checks))
