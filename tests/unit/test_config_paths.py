"""The environment, and the folders of settings, content and state."""

import errno
import os
import pwd
from pathlib import Path
from typing import Any

import pytest

from config.installed_unit import installed_state_dir
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
def test_environment_comes_from_the_variables(site: Site, environ: dict[str, str], expected: str) -> None:
    loaded = site.load(environ=environ)
    assert (loaded.environment, loaded.warnings) == (expected, ())


def test_dotnet_environment_overrides_aspnetcore_environment_with_a_warning(site: Site) -> None:
    loaded = site.load(environ={"DOTNET_ENVIRONMENT": "A", "ASPNETCORE_ENVIRONMENT": "B"})
    assert loaded.environment == "A"
    assert [str(warning) for warning in loaded.warnings] == [
        "environment variables DOTNET_ENVIRONMENT=A and ASPNETCORE_ENVIRONMENT=B differ; DOTNET_ENVIRONMENT applies"
    ]


@pytest.mark.parametrize(
    "argv", [("--environment", "C"), ("--environment=C",), ("/ENVIRONMENT", "C"), ("environment=C",)]
)
def test_environment_on_the_command_line_overrides_the_variables(site: Site, argv: tuple[str, ...]) -> None:
    loaded = site.load(*argv, environ={"DOTNET_ENVIRONMENT": "A", "ASPNETCORE_ENVIRONMENT": "B"})
    assert (loaded.environment, loaded.warnings) == ("C", ())


def test_environment_with_a_path_in_its_name_is_a_fault(site: Site) -> None:
    assert "must be a plain name" in site.fault(environ={"DOTNET_ENVIRONMENT": "../secrets"})


def test_development_is_true_only_in_development(site: Site) -> None:
    assert site.load(environment="DEVELOPMENT").development
    assert not site.load(environment="Dev").development


def test_current_folder_with_settings_is_the_content_root(site: Site) -> None:
    file = site.write("{}")
    loaded = site.load()
    assert (loaded.content_root, loaded.state_dir, loaded.files) == (site.here, site.here / "state", (file,))


def test_current_folder_without_settings_gives_way_to_the_system_folder(site: Site) -> None:
    file = site.write("{}", folder=site.path("etc"))
    assert (site.load().content_root, site.load().files) == (site.path("etc"), (file,))


def test_settings_out_of_reach_are_a_fault_and_not_taken_for_missing(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a system folder of mode 700 that belongs to another user."""
    folder = site.path("etc")

    def out_of_reach(path: Path, *_: Any, **__: Any) -> Any:
        if path.is_relative_to(folder) and path != folder:
            raise PermissionError(errno.EACCES, "Permission denied")
        return os.stat(path)  # noqa: PTH116 -- what Path.stat() calls, which is replaced

    monkeypatch.setattr(Path, "stat", out_of_reach)
    monkeypatch.setattr(Path, "read_bytes", out_of_reach)
    faults = site.faults()
    assert [fault for fault in faults if "appsettings.json: cannot be read: Permission denied" in fault] == faults[:1]


def test_content_root_without_any_file_is_in_the_home_folder(site: Site) -> None:
    loaded = site.load()
    assert loaded.content_root == site.path("home") / ".local" / "state" / "insignia-worker"
    assert loaded.files == ()
    assert not loaded.content_root.exists()


def test_state_home_is_xdg_state_home(site: Site) -> None:
    elsewhere = site.path("xdg")
    assert site.load(environ={"XDG_STATE_HOME": str(elsewhere)}).content_root == elsewhere / "insignia-worker"
    assert site.load(environ={"XDG_STATE_HOME": ""}).content_root == site.load().content_root


@pytest.mark.parametrize("name", ["XDG_STATE_HOME", "HOME"])
def test_directory_of_a_variable_that_is_not_a_list_may_contain_a_colon(site: Site, name: str) -> None:
    elsewhere = site.path("a:b")
    assert site.load(environ={name: str(elsewhere)}).content_root.is_relative_to(elsewhere)


@pytest.mark.parametrize(("mode", "is_shared"), [(0o755, False), (0o777, True)])
def test_folder_of_its_own_is_made_only_where_every_user_can_write(site: Site, mode: int, is_shared: bool) -> None:
    """Whatever the folder is called: systemd's StateDirectory= has the same name, and its mode is 0755."""
    given = site.path("insignia-worker")
    given.mkdir(parents=True, exist_ok=True)
    given.chmod(mode)
    loaded = site.load(environ={"STATE_DIRECTORY": str(given)})
    assert (loaded.is_state_dir_in_shared, loaded.state_dir == given) == (is_shared, not is_shared)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("STATE_DIRECTORY", "st/hub"),
        ("STATE_DIRECTORY", "st/hub:/var/lib/two"),
        ("STATE_DIRECTORY", ".."),
        ("CREDENTIALS_DIRECTORY", "secrets"),
        ("XDG_STATE_HOME", "xdg"),
        ("HOME", "~"),
    ],
)
def test_relative_directory_in_a_variable_is_a_fault_that_names_the_absolute_one(
    site: Site, name: str, value: str
) -> None:
    first = value.partition(":")[0]
    fault = site.fault(environ={name: value})
    assert fault == f"environment variable {name}={first}: must be an absolute path such as {Path.cwd() / first}"
    used_always = name in ("STATE_DIRECTORY", "CREDENTIALS_DIRECTORY")
    site.write("{}")
    if not used_always:
        assert site.load(environ={name: value}).content_root == site.here


def test_user_without_a_home_is_a_fault_that_names_the_variable(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown_user(uid: int) -> None:
        raise KeyError(uid)

    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.setattr(pwd, "getpwuid", unknown_user)
    assert "set HOME, or name a folder with --contentRoot" in site.fault(environ={"HOME": ""})
    site.write("{}")
    assert site.load(environ={"HOME": ""}).content_root == site.here


def test_named_file_sets_the_content_root_and_its_environment_file(site: Site) -> None:
    site.write('{"Hub": {"Enabled": true}}')
    file = site.write('{"Worker": {"Concurrency": 3}}', "mine.json", site.path("other"))
    beside = site.write('{"Worker": {"Processes": 4}}', "mine.Production.json", site.path("other"))
    loaded = site.load(config_file=Path("../other/mine.json"))
    assert (loaded.content_root, loaded.files) == (site.path("other"), (file, beside))
    assert (loaded.settings.worker.concurrency, loaded.settings.worker.processes) == (3, 4)
    assert loaded.settings.hub.enabled == "auto"


def test_named_file_that_is_missing_is_a_fault(site: Site) -> None:
    assert site.fault(config_file=Path("gone.json")) == "--config gone.json: no such file"


def test_content_root_on_the_command_line_overrides_the_others(site: Site) -> None:
    site.write("{}")
    root = site.path("root")
    file = site.write("{}", folder=root)
    for loaded in (
        site.load(content_root=root),
        site.load("--contentRoot", str(root)),
        site.load(f"contentroot={root}"),
    ):
        assert (loaded.content_root, loaded.files) == (root, (file,))


def test_content_root_that_is_missing_is_a_fault(site: Site) -> None:
    assert site.fault(content_root=Path("gone")) == "--contentRoot gone: no such folder"


def test_content_root_and_settings_file_can_be_in_different_folders(site: Site) -> None:
    root, file = site.path("root"), site.write("{}", "mine.json")
    loaded = site.load(content_root=root, config_file=file)
    assert (loaded.content_root, loaded.files) == (root, (file,))


def test_state_directory_is_the_first_of_systemd(site: Site) -> None:
    for value in ("/var/lib/one:/var/lib/two", ":/var/lib/one"):
        assert site.load(environ={"STATE_DIRECTORY": value}).state_dir == Path("/var/lib/one")
    assert site.load(environ={"STATE_DIRECTORY": ""}).state_dir == site.load().content_root / "state"


def test_relative_paths_resolve_against_state_directory_or_content_root(site: Site) -> None:
    site.write("{}")
    loaded = site.load(environ={"STATE_DIRECTORY": "/var/lib/one"})
    assert loaded.resolve_state("queue.db") == Path("/var/lib/one/queue.db")
    assert loaded.resolve_state("/data/queue.db") == Path("/data/queue.db")
    assert loaded.resolve_content("../ca.pem") == site.folder / "ca.pem"


def test_settings_file_that_is_a_link_has_the_folder_of_the_link(site: Site) -> None:
    file = site.write("{}", folder=site.path("package"))
    (site.here / "appsettings.json").symlink_to(file)
    assert site.load().content_root == site.here


def _unit(folder: Path, *lines: str, name: str = "insignia-worker.service") -> None:
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("[Service]\n" + "\n".join(lines) + "\n", encoding="utf-8")


ETC = Path("/etc/insignia-worker")
RUN = "ExecStart=/opt/bin/insignia-worker run --contentRoot /etc/insignia-worker"


@pytest.mark.parametrize(
    ("start", "root", "expected"),
    [
        (RUN, ETC, "insignia-worker"),
        (RUN, Path("/home/u"), None),
        ("ExecStart=/opt/bin/insignia-worker run", ETC, "insignia-worker"),
        ('ExecStart=/opt/bin/insignia-worker run --contentRoot="/srv/hr app"', Path("/srv/hr app"), "insignia-worker"),
        ("ExecStart=/opt/bin/insignia-worker run '", ETC, "insignia-worker"),
    ],
)
def test_state_directory_is_that_of_the_unit_with_this_content_root(
    tmp_path: Path, start: str, root: Path, expected: str | None
) -> None:
    _unit(tmp_path, "# StateDirectory=other", start, "StateDirectory=insignia-worker:alias second")
    found = installed_state_dir(root, ETC, (tmp_path / "empty", tmp_path), Path("/var/lib"))
    assert found == (None if expected is None else Path("/var/lib") / expected)


def test_drop_in_of_the_unit_changes_its_state_directory(tmp_path: Path) -> None:
    admin, vendor = tmp_path / "etc", tmp_path / "lib"
    _unit(vendor, RUN, "StateDirectory=insignia-worker")
    _unit(vendor, "StateDirectory=vendor", name="insignia-worker.service.d/10-state.conf")
    _unit(admin, "StateDirectory=hr", name="insignia-worker.service.d/10-state.conf")
    assert installed_state_dir(ETC, ETC, (admin, vendor), Path("/var/lib")) == Path("/var/lib/hr")


def test_shipped_unit_keeps_its_state_where_commands_look_for_it() -> None:
    deploy = Path(__file__).parents[2] / "deploy"
    assert installed_state_dir(ETC, ETC, (deploy,)) == Path("/var/lib/insignia-worker")


def test_unit_without_a_state_directory_is_ignored(tmp_path: Path) -> None:
    _unit(tmp_path, RUN)
    assert installed_state_dir(ETC, ETC, (tmp_path,)) is None


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ([], "http://127.0.0.1:8080"),
        (["--Http:Url=http://127.0.0.1:18087"], "http://127.0.0.1:18087"),
        (["--Http:Url=http://0.0.0.0:18087", "--Http:TrustedProxies:0=10.0.0.1"], "http://127.0.0.1:18087"),
        (["--Http:Url=http://[::1]:18087"], "http://[::1]:18087"),
        (["--Http:Url=http://127.0.0.1:18087", "--Hub:Enabled=false"], "http://127.0.0.1:8080"),
        (["--Http:Url=http://127.0.0.1:18087", "--WebSocket:Url=http://127.0.0.1:8080"], "http://127.0.0.1:8080"),
    ],
)
def test_web_socket_url_follows_the_own_port_unless_it_is_set(site: Site, settings: list[str], expected: str) -> None:
    assert site.load(*settings).settings.web_socket.url == expected
