"""Which environment this is, and where files, content and state lie."""

import pwd
from pathlib import Path

import pytest

from tests.support.site import Site


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, "Production"),
        ({"ASPNETCORE_ENVIRONMENT": "Staging"}, "Staging"),
        ({"DOTNET_ENVIRONMENT": "Test", "ASPNETCORE_ENVIRONMENT": "Test"}, "Test"),
        ({"DOTNET_ENVIRONMENT": "", "ASPNETCORE_ENVIRONMENT": "Staging"}, "Staging"),
        ({"DOTNET_ENVIRONMENT": "development"}, "Development"),
        ({"dotnet_environment": "Test"}, "Test"),
    ],
)
def test_the_environment_comes_from_the_variables(site: Site, environ: dict[str, str], expected: str) -> None:
    loaded = site.load(environ=environ)
    assert (loaded.environment, loaded.warnings) == (expected, ())


def test_dotnet_beats_aspnetcore_and_says_so(site: Site) -> None:
    loaded = site.load(environ={"DOTNET_ENVIRONMENT": "A", "ASPNETCORE_ENVIRONMENT": "B"})
    assert loaded.environment == "A"
    assert [str(warning) for warning in loaded.warnings] == [
        "environment variables DOTNET_ENVIRONMENT=A and ASPNETCORE_ENVIRONMENT=B differ; DOTNET_ENVIRONMENT holds"
    ]


@pytest.mark.parametrize(
    "argv", [("--environment", "C"), ("--environment=C",), ("/ENVIRONMENT", "C"), ("environment=C",)]
)
def test_the_command_line_beats_the_variables(site: Site, argv: tuple[str, ...]) -> None:
    loaded = site.load(*argv, environ={"DOTNET_ENVIRONMENT": "A", "ASPNETCORE_ENVIRONMENT": "B"})
    assert (loaded.environment, loaded.warnings) == ("C", ())


def test_an_environment_that_would_leave_the_folder_is_refused(site: Site) -> None:
    assert "must be a plain name" in site.fault(environ={"DOTNET_ENVIRONMENT": "../secrets"})


def test_only_development_is_development(site: Site) -> None:
    assert site.load(environment="DEVELOPMENT").development
    assert not site.load(environment="Dev").development


def test_the_folder_one_stands_in_counts_when_it_has_settings(site: Site) -> None:
    file = site.write("{}")
    loaded = site.load()
    assert (loaded.content_root, loaded.state_dir, loaded.files) == (site.here, site.here / "state", (file,))


def test_else_the_system_wide_settings_count(site: Site) -> None:
    file = site.write("{}", folder=site.path("etc"))
    assert (site.load().content_root, site.load().files) == (site.path("etc"), (file,))


def test_without_any_file_nothing_lies_where_the_command_was_typed(site: Site) -> None:
    loaded = site.load()
    assert loaded.content_root == site.path("home") / ".local" / "state" / "insignia-worker"
    assert loaded.files == ()
    assert not loaded.content_root.exists()


def test_the_state_home_is_where_xdg_says_if_it_is_absolute(site: Site) -> None:
    elsewhere = site.path("xdg")
    assert site.load(environ={"XDG_STATE_HOME": str(elsewhere)}).content_root == elsewhere / "insignia-worker"
    assert site.load(environ={"XDG_STATE_HOME": "xdg"}).content_root == site.load().content_root


def test_a_user_without_a_home_is_told_what_to_set(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody(uid: int) -> None:
        raise KeyError(uid)

    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.setattr(pwd, "getpwuid", nobody)
    assert "set HOME, or name a folder with --contentRoot" in site.fault(environ={"HOME": ""})
    site.write("{}")
    assert site.load(environ={"HOME": ""}).content_root == site.here


def test_a_named_file_takes_its_folder_and_its_environment_file_along(site: Site) -> None:
    site.write('{"Hub": {"Enabled": true}}')
    file = site.write('{"Worker": {"Concurrency": 3}}', "mine.json", site.path("other"))
    beside = site.write('{"Worker": {"Processes": 4}}', "mine.Production.json", site.path("other"))
    loaded = site.load(config_file=Path("../other/mine.json"))
    assert (loaded.content_root, loaded.files) == (site.path("other"), (file, beside))
    assert (loaded.settings.worker.concurrency, loaded.settings.worker.processes) == (3, 4)
    assert loaded.settings.hub.enabled == "auto"


def test_a_named_file_that_is_absent_is_a_fault(site: Site) -> None:
    assert site.fault(config_file=Path("gone.json")) == "--config gone.json: no such file"


def test_the_content_root_on_the_command_line_wins(site: Site) -> None:
    site.write("{}")
    root = site.path("root")
    file = site.write("{}", folder=root)
    for loaded in (
        site.load(content_root=root),
        site.load("--contentRoot", str(root)),
        site.load(f"contentroot={root}"),
    ):
        assert (loaded.content_root, loaded.files) == (root, (file,))


def test_a_content_root_that_is_absent_is_a_fault(site: Site) -> None:
    assert site.fault(content_root=Path("gone")) == "--contentRoot gone: no such folder"


def test_content_root_and_settings_file_may_lie_apart(site: Site) -> None:
    root, file = site.path("root"), site.write("{}", "mine.json")
    loaded = site.load(content_root=root, config_file=file)
    assert (loaded.content_root, loaded.files) == (root, (file,))


def test_the_state_directory_is_the_first_that_systemd_names(site: Site) -> None:
    loaded = site.load(environ={"STATE_DIRECTORY": "/var/lib/one:/var/lib/two"})
    assert loaded.state_dir == Path("/var/lib/one")


def test_data_is_resolved_against_the_state_and_content_against_its_root(site: Site) -> None:
    site.write("{}")
    loaded = site.load(environ={"STATE_DIRECTORY": "/var/lib/one"})
    assert loaded.resolve_state("queue.db") == Path("/var/lib/one/queue.db")
    assert loaded.resolve_state("/data/queue.db") == Path("/data/queue.db")
    assert loaded.resolve_content("../ca.pem") == site.folder / "ca.pem"


def test_the_folder_of_a_linked_file_is_that_of_the_link(site: Site) -> None:
    file = site.write("{}", folder=site.path("package"))
    (site.here / "appsettings.json").symlink_to(file)
    assert site.load().content_root == site.here
