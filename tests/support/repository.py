"""The files of this repository, for tests that check the source tree itself."""

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
_CODE = ("worker", "config")
_NOT_OURS = {"node_modules", "__pycache__"}


def name_of(path: Path) -> str:
    """Return the path from the root of the repository, with slashes."""
    return path.relative_to(ROOT).as_posix()


def files(suffix: str, *folders: str) -> list[Path]:
    """Return every file of these folders whose name ends with `suffix`, sorted."""
    found = (path for folder in folders for path in (ROOT / folder).rglob(f"*{suffix}"))
    return sorted(path for path in found if not _NOT_OURS & set(path.parts))


def pages() -> list[Path]:
    """Return every Markdown page."""
    return [*sorted(ROOT.glob("*.md")), *files(".md", "docs")]


def modules() -> Iterator[tuple[str, str, ast.Module]]:
    """Yield (name, text, syntax tree) for each module that is shipped."""
    for path in files(".py", *_CODE):
        text = path.read_text(encoding="utf-8")
        yield name_of(path), text, ast.parse(text)
