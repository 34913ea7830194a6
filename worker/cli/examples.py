"""An example of every command, which `-h` shows, and which a test parses."""

from typer import Typer
from typer.core import TyperCommand

from worker.cli.output import PROGRAM

EXAMPLES = {
    "run": "--contentRoot /etc/insignia-worker",
    "hub": "--Http:Url=http://127.0.0.1:3001",
    "demo": "--once",
    "enqueue": """\
greet --user somchai --payload '{"name": "Mali"}' --wait
greet --user somchai --payload @mali.json --run-at 2026-12-05T08:00:00+07:00""",
    "evaluate": "roster.csv --round 2569 --history history.csv -o results/",
    "listen": "--user somchai --count 1",
    "token": "--user somchai --days 1",
    "health": "--timeout 2",
    "stats": "",
    "audit": "--action jobs.cancel",
    "jobs list": "--state failed --kind greet",
    "jobs show": "01a22b6c-b3c6-7e3e-9f70-d2eacd32a2ac",
    "jobs cancel": "01a22b6c-b3c6-7e3e-9f70-d2eacd32a2ac",
    "jobs retry": "01a22b6c-b3c6-7e3e-9f70-d2eacd32a2ac",
    "notifications list": "--state dead",
    "notifications resend": "b1455272-b6b9-5302-8d59-70a63764204d",
    "notifications set-aside": "b1455272-b6b9-5302-8d59-70a63764204d",
    "kinds list": "",
    "kinds pause": "greet",
    "kinds resume": "greet",
    "workers show": "",
    "workers set": "--concurrency 20",
    "config show": "--Http:Url=http://127.0.0.1:9000",
    "config check": "--contentRoot /etc/insignia-worker",
    "db check": "",
    "db migrate": "",
    "db backup": "/var/backups/insignia-worker-1",
    "db restore": "/var/backups/insignia-worker-1",
    "db move": "--to postgres",
    "db recover": "",
    "doctor bundle": "insignia-worker.zip",
    "doctor ws": "http://127.0.0.1:8080 --quick",
}
"""The words after the command, by command; each line is an example."""


class Command(TyperCommand):
    """A command whose first sentence is listed whole; typer would cut it at the width of the terminal."""

    def get_short_help_str(self, limit: int = 0) -> str:
        return super().get_short_help_str(max(limit, 10_000))


def add_examples(app: Typer, group: str = "") -> None:
    """Add its example to the help of each command of this app. Raises KeyError for a command without one."""
    for command in app.registered_commands:
        name = command.name or getattr(command.callback, "__name__", "")
        words = f"{group} {name}".strip()
        command.cls = Command
        lines = [f"  {PROGRAM} {words} {more}".rstrip() for more in EXAMPLES[words].split("\n")]
        command.epilog = "\n".join(["\b", "Example:", *lines])
