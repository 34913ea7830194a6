"""Draws the states of a job in docs/architecture.md from the table of transitions.

`python -m worker.core.job_docs` rewrites the diagram in a checkout; a test fails when that was forgotten.
"""

import sys
from pathlib import Path
from typing import Final

from worker.core.job import TRANSITIONS, JobState

BEGIN: Final = "<!-- job states: begin -->"
END: Final = "<!-- job states: end -->"


def diagram() -> str:
    """Return the table of transitions as a Mermaid state diagram."""
    lines = ["stateDiagram-v2", f"  [*] --> {JobState.QUEUED}: enqueue"]
    lines += [
        f"  {source} --> {transition.target}: {transition.label}"
        for source in JobState
        for transition in TRANSITIONS.values()
        if source in transition.sources
    ]
    return "\n".join(lines)


def page(text: str) -> str:
    """Return the page with the diagram between its two markers drawn again."""
    head, _, rest = text.partition(BEGIN)
    _, _, tail = rest.partition(END)
    return f"{head}{BEGIN}\n```mermaid\n{diagram()}\n```\n{END}{tail}"


if __name__ == "__main__":
    document = Path(__file__).parents[2] / "docs" / "architecture.md"
    document.write_text(page(document.read_text(encoding="utf-8")), encoding="utf-8")
    sys.stdout.write("docs/architecture.md is written\n")
