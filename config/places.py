"""Where the settings files, the content and the state lie, and which environment this is. Reads no settings.

Never where a command happens to be typed: the current folder counts only if it holds an `appsettings.json`.
"""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from config.problems import Notes, Origin, Problem

FILE_NAME = "appsettings.json"
SYSTEM_FOLDER = Path("/etc/insignia-worker")
SECRETS_FOLDER = Path("/run/secrets")

_ENVIRONMENT = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
_USUAL = {name.lower(): name for name in ("Development", "Staging", "Production")}


@dataclass(frozen=True, slots=True)
class Places:
    content_root: Path
    state_dir: Path
    files: tuple[Path, ...]
    """Settings files that exist, the most general first."""


def environment_name(wanted: str | None, environ: Mapping[str, str], notes: Notes) -> str:
    """`--environment`, else DOTNET_ENVIRONMENT, else ASPNETCORE_ENVIRONMENT, else Production."""
    variables = {
        name: value for name in ("DOTNET_ENVIRONMENT", "ASPNETCORE_ENVIRONMENT") if (value := _variable(environ, name))
    }
    if wanted is None and len({value.lower() for value in variables.values()}) > 1:
        notes.warnings.append(_disagreement(variables))
    name = wanted or next(iter(variables.values()), "Production")
    if not _ENVIRONMENT.fullmatch(name):
        text = f"environment {name!r}: must be a plain name such as Production, as it is part of a file's name"
        notes.faults.append(Problem(text))
        return "Production"
    return _USUAL.get(name.lower(), name)


def _variable(environ: Mapping[str, str], name: str) -> str:
    return environ.get(name) or next((value for key, value in environ.items() if key.upper() == name), "")


def _disagreement(variables: Mapping[str, str]) -> Problem:
    first, second = variables.items()
    text = f"environment variables {first[0]}={first[1]} and {second[0]}={second[1]} differ; {first[0]} holds"
    return Problem(text, Origin("environment", first[0]))


def find(
    *,
    environ: Mapping[str, str],
    cwd: Path,
    config_file: Path | None,
    content_root: Path | None,
    environment: str,
    system_folder: Path,
    notes: Notes,
) -> Places:
    """The content root, the state directory and the files to read. A named file that is absent is a fault."""
    base = None if config_file is None else absolute(cwd, config_file)
    if base is not None and not base.exists():
        notes.faults.append(Problem(f"--config {config_file}: no such file", Origin("command line", "--config")))
    root = _content_root(environ, cwd, base, content_root, system_folder, notes)
    base = base or root / FILE_NAME
    candidates = (base, base.with_name(f"{base.stem}.{environment}{base.suffix}"))
    return Places(root, _state_dir(environ, root), tuple(file for file in candidates if file.exists()))


def _content_root(
    environ: Mapping[str, str],
    cwd: Path,
    base: Path | None,
    wanted: Path | None,
    system_folder: Path,
    notes: Notes,
) -> Path:
    if wanted is not None:
        folder = absolute(cwd, wanted)
        if not folder.is_dir():
            notes.faults.append(
                Problem(f"--contentRoot {wanted}: no such folder", Origin("command line", "--contentRoot"))
            )
        return folder
    if base is not None:
        return base.parent
    for folder in (absolute(cwd, Path()), system_folder):
        if (folder / FILE_NAME).exists():
            return folder
    return _user_folder(environ, notes)


def _user_folder(environ: Mapping[str, str], notes: Notes) -> Path:
    """$XDG_STATE_HOME, if it is absolute as its standard demands, else ~/.local/state; a folder of ours in it."""
    given = Path(environ.get("XDG_STATE_HOME", ""))
    return (given if given.is_absolute() else _home(environ, notes) / ".local" / "state") / "insignia-worker"


def _home(environ: Mapping[str, str], notes: Notes) -> Path:
    try:
        return Path(environ["HOME"]) if environ.get("HOME") else Path.home()
    except RuntimeError:  # a container's user often is a bare number
        text = "there is no settings file and this user has no home: set HOME, or name a folder with --contentRoot"
        notes.faults.append(Problem(text))
        return Path("/")


def _state_dir(environ: Mapping[str, str], content_root: Path) -> Path:
    """systemd's StateDirectory= (the first of several), else a folder in the content root."""
    first = Path(environ.get("STATE_DIRECTORY", "").split(":")[0])
    return first if first.is_absolute() else content_root / "state"


def absolute(folder: Path, path: Path) -> Path:
    """Without resolving symlinks: the folder an operator sees is the one that counts."""
    return Path(os.path.normpath(folder.absolute() / path))
