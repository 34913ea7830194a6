"""Loads the settings by .NET's rules: layers of leaves, the last one wins, each value with its origin.

Every source is read into leaves under paths, later leaves replace earlier ones, and the result is bound to the models.
All faults are collected and raised at once. Loading keeps no state, so a reload is another call.
"""

import stat
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path as FilePath
from types import MappingProxyType
from urllib.parse import urlsplit

from config import cross_checks, dotnet, paths, providers
from config.binding import bind, describe, value_at
from config.errors import DEFAULT, ConfigError, LoadReport, Origin, SettingsProblem
from config.key_check import check_keys, is_secret_leaf
from config.merge import Path, Setting, effective, key_text
from config.schema import shape_of
from config.settings import Settings
from config.watch import FileState, fingerprint


@dataclass(frozen=True, slots=True)
class LoadedSettings:
    """The settings with the origin of every value."""

    settings: Settings
    environment: str
    content_root: FilePath
    state_dir: FilePath
    is_state_dir_in_shared: bool
    """Whether other users can write the folder around it, and so may have made it."""
    files: tuple[FilePath, ...]
    """The settings files that were read, the most general first."""
    origins: Mapping[str, Origin] = field(default_factory=dict)
    """By key, as `Http:ApiKeys:0:Name`; a key that is not here has its default."""
    warnings: tuple[SettingsProblem, ...] = ()
    fingerprint: tuple[FileState, ...] = ()
    """What the files whose change calls for a reload looked like before they were read; some may be missing."""

    @property
    def development(self) -> bool:
        return self.environment == "Development"

    @property
    def watched(self) -> list[FilePath]:
        """The files whose change calls for a reload, whether they exist or not."""
        return [FilePath(state[0]) for state in self.fingerprint]

    def origin(self, key: str) -> Origin:
        return self.origins.get(key, DEFAULT)

    def resolve_state(self, path: str) -> FilePath:
        """Resolve a path of data that the service writes, as Queue:Path, against the state directory."""
        return paths.absolute(self.state_dir, FilePath(path))

    def resolve_content(self, path: str) -> FilePath:
        """Resolve a path of a file that operators provide, as WebSocket:TokenFile, against the content root."""
        return paths.absolute(self.content_root, FilePath(path))


def load(
    argv_settings: Sequence[str] = (),
    *,
    environ: Mapping[str, str],
    cwd: FilePath,
    config_file: FilePath | None = None,
    content_root: FilePath | None = None,
    environment: str | None = None,
    system_folder: FilePath = paths.SYSTEM_FOLDER,
    secrets_folder: FilePath = paths.SECRETS_FOLDER,
) -> LoadedSettings:
    """Read every layer, merge and bind them. Raises ConfigError with all faults; the result carries the warnings."""
    report = LoadReport()
    arguments = providers.from_command_line(argv_settings, report)
    name = paths.environment_name(environment or arguments.host.get("environment"), environ, report)
    found = paths.find(
        environ=environ,
        cwd=cwd,
        config_file=config_file,
        content_root=content_root or _given_root(arguments),
        environment=name,
        system_folder=system_folder,
        report=report,
    )
    folders = _secret_folders(environ, secrets_folder, report)
    seen, root = fingerprint(_watched(found, folders)), shape_of(Settings)
    layers = [
        providers.from_host_environment(environ, root, report),
        *_read_files(found.files, cwd, report),
        *(providers.from_credentials(folder, root, report) for folder in folders),
        providers.from_environment(environ, root, report),
        _with_secrets_reported(arguments.settings, report),
    ]
    merged = effective(check_keys(layers, report))
    origins = MappingProxyType({key_text(setting.path): setting.origin for setting in merged})
    settings = _bind_and_check(merged, origins, name, report)
    if report.faults:
        raise ConfigError(report.faults, report.warnings)
    warnings = (*report.warnings, *_unread_variables(environ, settings, origins))
    return LoadedSettings(settings, name, *found.places, origins, warnings, seen)


def _given_root(arguments: providers.CommandLine) -> FilePath | None:
    given = arguments.host.get("contentroot")
    return None if given is None else FilePath(given)


def _watched(found: paths.SettingsPaths, folders: Sequence[FilePath]) -> tuple[FilePath, ...]:
    """Return the files whose change calls for a reload."""
    root = shape_of(Settings)
    return (*found.candidates, *(file for folder in folders for file in providers.credential_files(folder, root)))


def _read_files(files: Sequence[FilePath], cwd: FilePath, report: LoadReport) -> Iterator[list[Setting]]:
    for file in files:
        name = str(file.relative_to(cwd) if file.is_relative_to(cwd) else file)
        settings = providers.from_file(file, name, report)
        if any(is_secret_leaf(setting) for setting in settings) and _world_readable(file):
            text = f"{name}: holds secrets and every user of this machine can read it; chmod o-r {name}"
            report.warnings.append(SettingsProblem(text, Origin("file", name)))
        yield settings


def _world_readable(file: FilePath) -> bool:
    try:
        return bool(file.stat().st_mode & stat.S_IROTH)
    except OSError:  # replaced after it was read
        return False


def _secret_folders(environ: Mapping[str, str], secrets_folder: FilePath, report: LoadReport) -> list[FilePath]:
    """Return the folder of mounted secrets, then that of systemd's credentials, which are specific to the service."""
    folders = (secrets_folder, paths.directory_in(environ, "CREDENTIALS_DIRECTORY", report))
    return [folder for folder in folders if folder is not None and folder.is_absolute()]


def _with_secrets_reported(arguments: list[Setting], report: LoadReport) -> list[Setting]:
    for setting in filter(is_secret_leaf, arguments):
        text = f"{setting.origin}: every user of this machine can see arguments; give secrets as a variable or a file"
        report.warnings.append(SettingsProblem(text, setting.origin))
    return arguments


def _bind_and_check(
    merged: Sequence[Setting], origins: Mapping[str, Origin], environment: str, report: LoadReport
) -> Settings:
    """Return the typed settings. Rules across settings are checked only where none of them has a fault already."""
    settings, problems = bind(merged)
    report.faults.extend(problems)
    broken = {fault.key for fault in report.faults}
    unreadable = any(fault.key is None for fault in report.faults)

    def problems_of(findings: Iterator[cross_checks.Finding]) -> Iterator[SettingsProblem]:
        for finding in findings:
            if not unreadable and broken.isdisjoint(map(key_text, finding.concerns)):
                yield _problem_of(finding, settings, origins)

    report.faults.extend(list(problems_of(cross_checks.faults(settings, environment))))
    report.warnings.extend(problems_of(cross_checks.warnings(settings)))
    return settings if report.faults else _with_own_server(settings, origins)


def _unread_variables(
    environ: Mapping[str, str], settings: Settings, origins: Mapping[str, Origin]
) -> Iterator[SettingsProblem]:
    """Yield a warning for each variable that seems to set something and does not."""
    for name in environ:
        bare = dotnet.unprefixed(name)
        if bare is None:
            continue
        key = bare.replace("__", ":").lower()
        applied = next((origin for known, origin in origins.items() if known.lower() == key), None)
        if applied is not None and applied.kind == "file":
            text = f"environment variable {name} does not apply, because {applied} sets the same"
            yield SettingsProblem(f"{text}; name it {bare}", Origin("environment", name))
    if "Http:Url" not in origins:
        for name, url in dotnet.unread_ports(environ, urlsplit(settings.http.url).port):
            text = f"environment variable {name} is not read, and the port is that of Http:Url; set Http__Url={url}"
            yield SettingsProblem(text, Origin("environment", name))


def _with_own_server(settings: Settings, origins: Mapping[str, Origin]) -> Settings:
    """Let WebSocket:Url follow the port of Http:Url while no one has set it: otherwise the hub would be lost."""
    own = urlsplit(settings.http.url)
    if "WebSocket:Url" in origins or "Http:Url" not in origins or own.port == 0 or settings.hub.enabled == "false":
        return settings
    host = "127.0.0.1" if own.hostname in ("*", "+", "0.0.0.0", "::", None) else own.hostname  # noqa: S104 -- compared
    shown = f"[{host}]" if ":" in host else host
    url = f"http://{shown}:{own.port or 80}"
    return settings.model_copy(update={"web_socket": settings.web_socket.model_copy(update={"url": url})})


def _problem_of(finding: cross_checks.Finding, settings: Settings, origins: Mapping[str, Origin]) -> SettingsProblem:
    """Return `Key = value (from origin): what is wrong`, with the other setting where the rule compares two."""

    def written(path: Path) -> str:
        return describe(path, value_at(settings, path), origins.get(key_text(path), DEFAULT))

    reason = finding.reason if finding.other is None else finding.reason.replace("{other}", written(finding.other))
    key = key_text(finding.key)
    return SettingsProblem(f"{written(finding.key)}: {reason}", origins.get(key, DEFAULT), key)
