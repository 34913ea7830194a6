"""Finds the settings files, the content root, the state directory and the environment. Reads no settings.

The current folder is used only if it contains an `appsettings.json`.
"""

import os
import re
import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from config.errors import LoadReport, Origin, SettingsProblem
from config.installed_unit import installed_state_dir
from config.presence import exists, is_folder

FILE_NAME = "appsettings.json"
SYSTEM_FOLDER = Path("/etc/insignia-worker")
SECRETS_FOLDER = Path("/run/secrets")
_OWN_FOLDER = "insignia-worker"
"""The service's folder in a state directory that others can write."""
OWN_FILES = ("queue.db", "hub.db", "hub.key", "session.key", "admin.key")

_ENVIRONMENT = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
_USUAL = {name.lower(): name for name in ("Development", "Staging", "Production")}


@dataclass(frozen=True, slots=True)
class SettingsPaths:
    content_root: Path
    state_dir: Path
    is_state_dir_in_shared: bool
    """Whether the folder around the state directory can be written by other users."""
    files: tuple[Path, ...]
    """Settings files that exist, the most general first."""
    candidates: tuple[Path, ...]
    """All places where a settings file is looked for."""

    @property
    def places(self) -> tuple[Path, Path, bool, tuple[Path, ...]]:
        """The content root, the state directory, whether others can write the folder around it, and the files."""
        return (self.content_root, self.state_dir, self.is_state_dir_in_shared, self.files)


def environment_name(wanted: str | None, environ: Mapping[str, str], report: LoadReport) -> str:
    """Return `--environment`, else DOTNET_ENVIRONMENT, else ASPNETCORE_ENVIRONMENT, else Production."""
    variables = {
        name: value for name in ("DOTNET_ENVIRONMENT", "ASPNETCORE_ENVIRONMENT") if (value := _variable(environ, name))
    }
    if wanted is None and len({value.lower() for value in variables.values()}) > 1:
        report.warnings.append(_disagreement(variables))
    name = wanted or next(iter(variables.values()), "Production")
    if not _ENVIRONMENT.fullmatch(name):
        text = f"environment {name!r}: must be a plain name such as Production, as it is part of a file's name"
        report.faults.append(SettingsProblem(text))
        return "Production"
    return _USUAL.get(name.lower(), name)


def _variable(environ: Mapping[str, str], name: str) -> str:
    return environ.get(name) or next((value for key, value in environ.items() if key.upper() == name), "")


def _disagreement(variables: Mapping[str, str]) -> SettingsProblem:
    first, second = variables.items()
    text = f"environment variables {first[0]}={first[1]} and {second[0]}={second[1]} differ; {first[0]} applies"
    return SettingsProblem(text, Origin("environment", first[0]))


def find(
    *,
    environ: Mapping[str, str],
    cwd: Path,
    config_file: Path | None,
    content_root: Path | None,
    environment: str,
    system_folder: Path,
    report: LoadReport,
) -> SettingsPaths:
    """Return the content root, the state directory and the files to read. A named file that is missing is a fault."""
    base = None if config_file is None else absolute(cwd, config_file)
    if base is not None and not _may_exist(exists, base):
        report.faults.append(
            SettingsProblem(f"--config {config_file}: no such file", Origin("command line", "--config"))
        )
    root = _content_root(environ, cwd, base, content_root, system_folder, report)
    base = base or root / FILE_NAME
    candidates = (base, base.with_name(f"{base.stem}.{environment}{base.suffix}"))
    given = _state_dir(environ, root, system_folder, report)
    state_dir = _private(given, report)
    existing = tuple(file for file in candidates if _may_exist(exists, file))
    return SettingsPaths(root, state_dir, state_dir != given, existing, candidates)


def _may_exist(look: Callable[[Path], bool], path: Path) -> bool:
    """Return whether it exists; of what is out of reach, yes: that it cannot be read is reported where it is read."""
    try:
        return look(path)
    except OSError:
        return True


def _content_root(
    environ: Mapping[str, str],
    cwd: Path,
    base: Path | None,
    wanted: Path | None,
    system_folder: Path,
    report: LoadReport,
) -> Path:
    if wanted is not None:
        folder = absolute(cwd, wanted)
        if not _may_exist(is_folder, folder):
            report.faults.append(
                SettingsProblem(f"--contentRoot {wanted}: no such folder", Origin("command line", "--contentRoot"))
            )
        return folder
    if base is not None:
        return base.parent
    for folder in (absolute(cwd, Path()), system_folder):
        if _may_exist(exists, folder / FILE_NAME):
            return folder
    return _user_folder(environ, report)


def _user_folder(environ: Mapping[str, str], report: LoadReport) -> Path:
    """Return a folder in $XDG_STATE_HOME, else in ~/.local/state."""
    given = directory_in(environ, "XDG_STATE_HOME", report)
    return (given or _home(environ, report) / ".local" / "state") / "insignia-worker"


def _home(environ: Mapping[str, str], report: LoadReport) -> Path:
    try:
        return directory_in(environ, "HOME", report) or Path.home()
    except RuntimeError:  # in a container the user is often a number without an account
        text = "no settings files were found and this user has no home: set HOME, or name a folder with --contentRoot"
        report.faults.append(SettingsProblem(text))
        return Path("/")


def _state_dir(environ: Mapping[str, str], content_root: Path, system_folder: Path, report: LoadReport) -> Path:
    """Return systemd's StateDirectory=, else a folder in the content root.

    systemd gives it to the service in a variable; commands read it from the unit that has this content root.
    """
    given = directory_in(environ, "STATE_DIRECTORY", report, is_list=True)
    return given or installed_state_dir(content_root, system_folder) or content_root / "state"


def directory_in(environ: Mapping[str, str], name: str, report: LoadReport, *, is_list: bool = False) -> Path | None:
    """Return the directory that a variable names, of a list separated by colons the first; None: it is not set.

    A relative one is a fault: a service and a command that start in different folders would mean different
    directories, and each would make keys and a queue of its own.
    """
    value = environ.get(name, "")
    first = next((part for part in value.split(":") if part), "") if is_list else value
    if not first:
        return None
    if not Path(first).is_absolute():
        text = f"environment variable {name}={first}: must be an absolute path such as {Path.cwd() / first}"
        report.faults.append(SettingsProblem(text, Origin("environment", name)))
    return Path(first)


def _private(folder: Path, report: LoadReport) -> Path:
    """Return the folder itself; where every user can write it, a folder in it that the service creates for itself.

    A folder of a container's platform often is like that. One that has files of the service already is used as it is.
    """
    try:
        is_open = bool(folder.stat().st_mode & stat.S_IWOTH)
    except OSError:
        return folder
    if not is_open:
        return folder
    if any(exists(folder / name) for name in OWN_FILES):
        text = f"{folder}: every user of this machine can replace the files in this folder; chmod 700 {folder}"
        report.warnings.append(SettingsProblem(text))
        return folder
    return folder / _OWN_FOLDER


def absolute(folder: Path, path: Path) -> Path:
    """Return an absolute path without resolving symlinks, so that messages show the folder the operator knows."""
    return Path(os.path.normpath(folder.absolute() / path))
