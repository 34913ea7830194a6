"""The pages agree with the tree: links lead somewhere, named paths exist, and packages are described."""

import re
from pathlib import Path

from tests.support.repository import ROOT, name_of, pages

_LINK = re.compile(r"\]\((?P<target>[^)\s]+)\)")
_CODE = re.compile(r"```.*?```|`[^`\n]*`", re.DOTALL)
_PATH = re.compile(r"`((?:worker|config|tests|docs|bench|tools|deploy)/[\w./-]*)`")


def test_links_of_every_page_resolve() -> None:
    assert [f"{name_of(page)}: {link}" for page in pages() for link in broken_links(page)] == []


def test_paths_that_a_page_names_exist() -> None:
    assert [f"{name_of(page)}: {path}" for page in pages() for path in missing_paths(page)] == []


def test_architecture_names_every_package() -> None:
    described = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    table = described.partition("## Source tree")[2].partition("\n## ")[0]
    packages = [path.parent.name for path in (ROOT / "worker").glob("*/__init__.py")]
    named = set(re.findall(r"^\| `worker/(\w+)/`", table, re.MULTILINE))

    assert packages
    assert named == set(packages)


def test_architecture_names_the_subpackages_of_each_package() -> None:
    described = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| `worker/(\w+)/` \| (.*) \|$", described, re.MULTILINE))
    found = [path.parent.relative_to(ROOT / "worker").parts for path in (ROOT / "worker").glob("*/*/__init__.py")]

    assert [f"{package}/{name}" for package, name in found if f"`{name}/`" not in rows[package]] == []


def test_broken_links_reports_a_missing_file_and_a_missing_heading(tmp_path: Path) -> None:
    (tmp_path / "other.md").write_text("# Other page\n\n## Rate limits: a table\n", encoding="utf-8")
    page = tmp_path / "page.md"
    page.write_text(
        "[a](other.md) [b](other.md#rate-limits-a-table) [c](https://example.org/x) `[d](code.md)`\n"
        "[e](gone.md) [f](other.md#gone) [g](#gone)\n",
        encoding="utf-8",
    )

    assert broken_links(page) == ["gone.md", "other.md#gone", "#gone"]


def test_missing_paths_reports_a_path_that_does_not_exist(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("`worker/errors.py`, `worker/core/`, `worker/gone.py`", encoding="utf-8")

    assert missing_paths(page) == ["worker/gone.py"]


def missing_paths(page: Path) -> list[str]:
    """Return the paths of the source tree that a page names and that do not exist."""
    return [path for path in _PATH.findall(page.read_text(encoding="utf-8")) if not (ROOT / path).exists()]


def broken_links(page: Path) -> list[str]:
    """Return the relative links of a page whose file, or whose heading in a Markdown file, does not exist."""
    text = _CODE.sub("", page.read_text(encoding="utf-8"))
    targets = [found["target"] for found in _LINK.finditer(text)]
    return [target for target in targets if "://" not in target and not _resolves(page, target)]


def _resolves(page: Path, target: str) -> bool:
    path, _, anchor = target.partition("#")
    file = page.parent / path if path else page
    return file.exists() and (not anchor or anchor in _anchors(file))


def _anchors(page: Path) -> set[str]:
    """Return the anchors that GitHub gives to the headings of a Markdown page."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
