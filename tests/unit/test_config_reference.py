"""The shipped settings file and the page of all settings are true."""

import importlib.resources
from pathlib import Path

import pytest

from config import reference
from config.jsonfile import read_leaves
from config.settings import Settings
from config.show import leaves, rows
from config.tree import key_text
from tests.support.site import Site

ROOT = Path(__file__).parents[2]


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def _shipped() -> Path:
    with importlib.resources.as_file(importlib.resources.files("config") / "appsettings.json") as path:
        return path


def test_the_shipped_file_is_the_defaults_key_by_key(site: Site) -> None:
    loaded = site.load(config_file=_shipped(), environment="Nowhere")
    assert loaded.warnings == ()
    assert {row.key: row.value for row in rows(loaded)} == {row.key: row.value for row in rows(site.load())}
    assert loaded.settings == Settings()


def test_the_shipped_file_names_every_key_and_shows_null_where_nothing_is_set() -> None:
    written = {key_text(leaf.path): leaf.value for leaf in read_leaves(_shipped().read_text(encoding="utf-8"))}
    defaults = {key_text(path): value for path, value in leaves(Settings())}
    assert list(written) == list(defaults)
    assert {key for key, value in written.items() if value is None} == {
        key for key, value in defaults.items() if value is None
    }


def test_every_key_of_the_shipped_file_has_a_comment() -> None:
    lines = _shipped().read_text(encoding="utf-8").splitlines()
    keys = [number for number, line in enumerate(lines) if line.lstrip().startswith('"')]
    assert [lines[number] for number in keys if not lines[number - 1].lstrip().startswith("// ")] == []
    assert max(map(len, lines)) <= 120


def test_the_file_in_the_root_is_the_shipped_one() -> None:
    link = ROOT / "appsettings.json"
    assert link.is_symlink()
    assert link.read_bytes() == (ROOT / "config" / "appsettings.json").read_bytes()


def test_the_shipped_file_is_what_the_models_say() -> None:
    assert _shipped().read_text(encoding="utf-8") == reference.settings_file()


def test_the_page_of_all_settings_is_what_the_models_say() -> None:
    text = (ROOT / "docs" / "settings.md").read_text(encoding="utf-8")
    assert reference.BEGIN in text
    assert reference.page(text) == text


def test_the_page_names_every_key() -> None:
    tables = reference.tables()
    missing = [key_text(path) for path, _ in leaves(Settings()) if f"| `{path[-1]}` |" not in tables]
    assert missing == ["Logging:LogLevel:Default"]  # an entry of a dictionary, not a key
    assert "| `Window` | whole number, 1 to 10000 | `256` |" in tables
    assert "| `AckTimeout` | milliseconds, > 0 | `10000` |" in tables
    assert '| `Scopes` | list of `enqueue`, `read`, `admin` | `["read"]` |' in tables


def test_writing_anew_changes_a_stale_checkout(tmp_path: Path) -> None:
    (tmp_path / "config").mkdir()
    (tmp_path / "docs").mkdir()
    page = tmp_path / "docs" / "settings.md"
    page.write_text(f"before\n{reference.BEGIN}\nstale\n{reference.END}\nafter\n", encoding="utf-8")
    reference.write(tmp_path)
    assert (tmp_path / "config" / "appsettings.json").read_text(encoding="utf-8") == reference.settings_file()
    assert page.read_text(encoding="utf-8") == (
        f"before\n{reference.BEGIN}\n\n{reference.tables()}\n{reference.END}\nafter\n"
    )


def test_the_development_file_loads_without_a_word(site: Site) -> None:
    loaded = site.load(content_root=ROOT, environment="Development")
    assert [file.name for file in loaded.files] == ["appsettings.json", "appsettings.Development.json"]
    assert loaded.warnings == ()
    assert loaded.settings.logging.log_level == {"Default": "Debug"}
    assert loaded.settings.web_socket.progress is True
