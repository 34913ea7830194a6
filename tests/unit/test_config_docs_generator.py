"""The generated settings file and pages match the models."""

import importlib.resources
import re
from pathlib import Path

import pytest

from config import docs_generator
from config.json_file import read_leaves
from config.merge import key_text
from config.reload import hot_keys
from config.settings import Settings
from config.show import leaves, rows
from tests.support.site import Site

ROOT = Path(__file__).parents[2]


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def _shipped() -> Path:
    with importlib.resources.as_file(importlib.resources.files("config") / "appsettings.json") as path:
        return path


def test_shipped_file_has_the_default_of_every_key(site: Site) -> None:
    loaded = site.load(config_file=_shipped(), environment="Nowhere")
    assert loaded.warnings == ()
    assert {row.key: row.value for row in rows(loaded)} == {row.key: row.value for row in rows(site.load())}
    assert loaded.settings == Settings()


def test_shipped_file_contains_every_key_with_null_for_unset_ones() -> None:
    written = {key_text(leaf.path): leaf.value for leaf in read_leaves(_shipped().read_text(encoding="utf-8"))}
    defaults = {key_text(path): value for path, value in leaves(Settings())}
    assert list(written) == list(defaults)
    assert {key for key, value in written.items() if value is None} == {
        key for key, value in defaults.items() if value is None
    }


def test_shipped_file_has_a_comment_for_every_key() -> None:
    lines = _shipped().read_text(encoding="utf-8").splitlines()
    keys = [number for number, line in enumerate(lines) if line.lstrip().startswith('"')]
    assert [lines[number] for number in keys if not lines[number - 1].lstrip().startswith("// ")] == []
    assert max(map(len, lines)) <= 120


def test_file_in_the_root_equals_the_shipped_one() -> None:
    link = ROOT / "appsettings.json"
    assert link.is_symlink()
    assert link.read_bytes() == (ROOT / "config" / "appsettings.json").read_bytes()


def test_settings_page_contains_every_key() -> None:
    tables = docs_generator.tables()
    missing = [key_text(path) for path, _ in leaves(Settings()) if f"| `{path[-1]}` |" not in tables]
    assert missing == ["Logging:LogLevel:Default"]  # an entry of a dictionary, not a key
    assert "| `Window` | whole number, 1 to 10000 | `256` |" in tables
    assert "| `AckTimeout` | milliseconds, > 0 | `10000` |" in tables
    assert '| `Scopes` | list of `enqueue`, `read`, `admin` | `["read"]` |' in tables


def test_write_updates_stale_files(tmp_path: Path) -> None:
    (tmp_path / "config").mkdir()
    (tmp_path / "docs").mkdir()
    page = tmp_path / "docs" / "settings.md"
    page.write_text(f"before\n{docs_generator.BEGIN}\nstale\n{docs_generator.END}\nafter\n", encoding="utf-8")
    operations = tmp_path / "docs" / "operations.md"
    operations.write_text(f"{docs_generator.HOT_BEGIN}stale{docs_generator.HOT_END}\n", encoding="utf-8")
    docs_generator.write(tmp_path)
    assert operations.read_text(encoding="utf-8") == docs_generator.hot_page(operations.read_text(encoding="utf-8"))
    assert "`Worker:Concurrency`" in operations.read_text(encoding="utf-8")
    assert (tmp_path / "config" / "appsettings.json").read_text(encoding="utf-8") == docs_generator.settings_file()
    assert page.read_text(encoding="utf-8") == (
        f"before\n{docs_generator.BEGIN}\n\n{docs_generator.tables()}\n{docs_generator.END}\nafter\n"
    )


def test_development_file_loads_without_warnings(site: Site) -> None:
    loaded = site.load(content_root=ROOT, environment="Development")
    assert [file.name for file in loaded.files] == ["appsettings.json", "appsettings.Development.json"]
    assert loaded.warnings == ()
    assert loaded.settings.logging.log_level == {"Default": "Debug"}
    assert loaded.settings.web_socket.progress is True


def test_operations_page_names_every_key_that_a_reload_changes() -> None:
    text = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    listed = text.partition(docs_generator.HOT_BEGIN)[2].partition(docs_generator.HOT_END)[0]
    assert tuple(re.findall(r"`([^`]+)`", listed)) == hot_keys()


def test_settings_table_says_of_a_key_in_a_hot_section_that_a_reload_changes_it() -> None:
    rows = {line.split("`")[1]: line for line in docs_generator.tables().splitlines() if line.startswith("| `")}
    assert "| reload |" in rows["BadRowLimit"]
    assert "| reload |" in rows["Concurrency"]
    assert "| restart |" in rows["InboxPath"]
