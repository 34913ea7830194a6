"""Reads where an installed systemd unit keeps its state: systemd tells the service by a variable, and no one else."""

import re
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path

UNIT_NAME = "insignia-worker.service"
UNIT_FOLDERS = tuple(
    Path(folder)
    for folder in (
        "/etc/systemd/system",
        "/run/systemd/system",
        "/usr/local/lib/systemd/system",
        "/usr/lib/systemd/system",
        "/lib/systemd/system",
    )
)
"""The first one that has the unit counts; later drop-ins replace what it says."""
STATE_ROOT = Path("/var/lib")
"""StateDirectory= of a system unit is relative to it."""

_CONTENT_ROOT = re.compile(r"(?:--|/)contentroot(?:=(?P<value>.+))?", re.IGNORECASE)


def installed_state_dir(
    content_root: Path, default_root: Path, folders: Sequence[Path] = UNIT_FOLDERS, state_root: Path = STATE_ROOT
) -> Path | None:
    """Return the state directory of the unit that runs with this content root; None: there is no such unit."""
    values = unit_settings(folders)
    names = values.get("StateDirectory", "").split()
    if not names or _unit_root(values.get("ExecStart", ""), default_root) != content_root:
        return None
    return state_root / names[0].partition(":")[0]


def unit_settings(folders: Sequence[Path] = UNIT_FOLDERS) -> dict[str, str]:
    """Return the last value of each assignment in the installed unit and its drop-ins; empty: it is not installed."""
    unit = next((folder / UNIT_NAME for folder in folders if (folder / UNIT_NAME).is_file()), None)
    values: dict[str, str] = {}
    for file in () if unit is None else (unit, *_drop_ins(folders)):
        values.update(_settings_of(file))
    return values


def _drop_ins(folders: Sequence[Path]) -> list[Path]:
    """Return the unit's drop-ins in the order in which they apply; of equal names, the first folder's counts."""
    found: dict[str, Path] = {}
    for folder in folders:
        for file in (folder / f"{UNIT_NAME}.d").glob("*.conf"):
            found.setdefault(file.name, file)
    return [found[name] for name in sorted(found)]


def _settings_of(file: Path) -> Iterator[tuple[str, str]]:
    """Yield the assignments of a unit file in order. A file that cannot be read has none."""
    try:
        text = file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return
    for line in text.replace("\\\n", " ").splitlines():
        name, equals, value = line.strip().partition("=")
        if equals and not name.startswith(("#", ";")):
            yield name.strip(), value.strip()


def _unit_root(command: str, default_root: Path) -> Path:
    """Return the folder that `--contentRoot` names in the unit's command."""
    try:
        words = shlex.split(command)
    except ValueError:
        return default_root
    for number, word in enumerate(words):
        match = _CONTENT_ROOT.fullmatch(word)
        if match is not None:
            return Path(match["value"] or "".join(words[number + 1 : number + 2]))
    return default_root
