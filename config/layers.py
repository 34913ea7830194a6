"""The settings as .NET operators know them: layers of leaves, the last one wins, each value with its origin.

Flatten, merge, bind: every provider becomes leaves under paths, later leaves replace earlier ones, and what
remains is bound to the typed tree. All faults are collected and raised at once. Reads files and the
environment it is handed; changes nothing and keeps nothing, so a reload is one more call.
"""

import stat
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path as FilePath
from types import MappingProxyType

from config import checks, places, providers
from config.binding import bind, describe, value_at
from config.fitting import fit, is_secret_leaf
from config.problems import DEFAULT, ConfigError, Notes, Origin, Problem
from config.settings import Settings
from config.shape import shape_of
from config.tree import Path, Setting, effective, key_text


@dataclass(frozen=True, slots=True)
class Loaded:
    """Settings ready for use, and where everything came from."""

    settings: Settings
    environment: str
    content_root: FilePath
    state_dir: FilePath
    files: tuple[FilePath, ...]
    """Settings files that were found and read, the most general first."""
    origins: Mapping[str, Origin] = field(default_factory=dict)
    """By key, as `Http:ApiKeys:0:Name`; a key that is not here has its default."""
    warnings: tuple[Problem, ...] = ()

    @property
    def development(self) -> bool:
        return self.environment == "Development"

    def origin(self, key: str) -> Origin:
        return self.origins.get(key, DEFAULT)

    def resolve_state(self, path: str) -> FilePath:
        """For what the service writes: Queue:Path, Hub:InboxPath, Insignia:DataDirectory and OutputDirectory."""
        return places.absolute(self.state_dir, FilePath(path))

    def resolve_content(self, path: str) -> FilePath:
        """For what operators hand us: Insignia:CriteriaPath, WebSocket:CaFile and TokenFile."""
        return places.absolute(self.content_root, FilePath(path))


def load(
    argv_settings: Sequence[str] = (),
    *,
    environ: Mapping[str, str],
    cwd: FilePath,
    config_file: FilePath | None = None,
    content_root: FilePath | None = None,
    environment: str | None = None,
    system_folder: FilePath = places.SYSTEM_FOLDER,
    secrets_folder: FilePath = places.SECRETS_FOLDER,
) -> Loaded:
    """Read every layer and bind them. ConfigError carries all faults; warnings travel in the result."""
    notes = Notes()
    arguments = providers.from_command_line(argv_settings, notes)
    name = places.environment_name(environment or arguments.host.get("environment"), environ, notes)
    wanted_root = content_root or (FilePath(arguments.host["contentroot"]) if "contentroot" in arguments.host else None)
    found = places.find(
        environ=environ,
        cwd=cwd,
        config_file=config_file,
        content_root=wanted_root,
        environment=name,
        system_folder=system_folder,
        notes=notes,
    )
    root = shape_of(Settings)
    layers = [
        *_files(found.files, cwd, notes),
        *_credentials(environ, secrets_folder, notes),
        providers.from_environment(environ, root, notes),
        _public(arguments.settings, notes),
    ]
    merged = effective(fit(layers, notes))
    origins = MappingProxyType({key_text(setting.path): setting.origin for setting in merged})
    settings = _checked(merged, origins, name, notes)
    if notes.faults:
        raise ConfigError(notes.faults, notes.warnings)
    return Loaded(settings, name, found.content_root, found.state_dir, found.files, origins, tuple(notes.warnings))


def _files(files: Sequence[FilePath], cwd: FilePath, notes: Notes) -> Iterator[list[Setting]]:
    for file in files:
        name = str(file.relative_to(cwd) if file.is_relative_to(cwd) else file)
        settings = providers.from_file(file, name, notes)
        if any(is_secret_leaf(setting) for setting in settings) and _world_readable(file):
            text = f"{name}: holds secrets and every user of this machine can read it; chmod o-r {name}"
            notes.warnings.append(Problem(text, Origin("file", name)))
        yield settings


def _world_readable(file: FilePath) -> bool:
    try:
        return bool(file.stat().st_mode & stat.S_IROTH)
    except OSError:  # replaced since it was read
        return False


def _credentials(environ: Mapping[str, str], secrets_folder: FilePath, notes: Notes) -> Iterator[list[Setting]]:
    """Mounted secrets, then systemd's credentials, which are the service's very own."""
    folders = (secrets_folder, FilePath(environ.get("CREDENTIALS_DIRECTORY", "")))
    for folder in folders:
        if folder.is_absolute():
            yield providers.from_credentials(folder, shape_of(Settings), notes)


def _public(arguments: list[Setting], notes: Notes) -> list[Setting]:
    for setting in filter(is_secret_leaf, arguments):
        text = f"{setting.origin}: every user of this machine can see arguments; give secrets as a variable or a file"
        notes.warnings.append(Problem(text, setting.origin))
    return arguments


def _checked(merged: Sequence[Setting], origins: Mapping[str, Origin], environment: str, notes: Notes) -> Settings:
    """The typed tree. Rules between settings are tried only where none of them is at fault already."""
    settings, problems = bind(merged)
    notes.faults.extend(problems)
    broken = {fault.key for fault in notes.faults}
    unreadable = any(fault.key is None for fault in notes.faults)

    def told(findings: Iterator[checks.Finding]) -> Iterator[Problem]:
        for finding in findings:
            if not unreadable and broken.isdisjoint(map(key_text, finding.concerns)):
                yield _worded(finding, settings, origins)

    notes.faults.extend(list(told(checks.faults(settings, environment))))
    notes.warnings.extend(told(checks.warnings(settings)))
    return settings


def _worded(finding: checks.Finding, settings: Settings, origins: Mapping[str, Origin]) -> Problem:
    """`Key = value (from origin): what is wrong`, with the other setting where the rule compares two."""

    def written(path: Path) -> str:
        return describe(path, value_at(settings, path), origins.get(key_text(path), DEFAULT))

    reason = finding.reason if finding.other is None else finding.reason.replace("{other}", written(finding.other))
    key = key_text(finding.key)
    return Problem(f"{written(finding.key)}: {reason}", origins.get(key, DEFAULT), key)
