"""Generates the list of log lines in docs/operations.md from the table.

`python -m worker.observability.log_docs` rewrites it in a checkout; a test fails when that was forgotten.
"""

import re
import sys
from pathlib import Path
from typing import Final

from worker.observability.log_line import LogLine
from worker.observability.log_table import all_lines

BEGIN: Final = "<!-- logs: begin -->"
END: Final = "<!-- logs: end -->"
_FIELD = re.compile(r"\{(?:[a-z_]+\.)*([a-z_]+)(?::[^}]*)?\}")


def page(text: str) -> str:
    """Return the page with the table between its two markers generated again."""
    head, _, rest = text.partition(BEGIN)
    _, _, tail = rest.partition(END)
    return f"{head}{BEGIN}\n| `event` | Level | | Text |\n|---|---|---|---|\n{_rows()}\n{END}{tail}"


def _rows() -> str:
    return "\n".join(
        f"| `{line.name}` | {line.level} | {line.emoji} | {_readable(line)} |"
        for line in sorted(set(all_lines()), key=lambda line: (line.name, line.level, line.template))
    )


def _readable(line: LogLine) -> str:
    """Return the text with `<seconds>` in place of a field such as `{event.seconds:.1f}`."""
    return _FIELD.sub(r"`<\1>`", line.template).replace("``", "` `").replace("\n", " ")


if __name__ == "__main__":
    document = Path(__file__).parents[2] / "docs" / "operations.md"
    document.write_text(page(document.read_text(encoding="utf-8")), encoding="utf-8")
    sys.stdout.write("docs/operations.md is written\n")
