"""The sources of settings: files, credentials, environment and command line, each read into leaves.

Variables and files in shared folders are recognised by their first segment; those of other programs are not read.
The order of the sources and the types of values are decided elsewhere.
"""

import re
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path as FilePath

from config import dotnet
from config.errors import LoadReport, Origin, SettingsProblem, did_you_mean, distance
from config.json_file import JsonFault, decode, read_leaves
from config.merge import Path, Setting, key_text, same_key
from config.presence import is_regular_file
from config.schema import KnownKey, LeafShape, SectionShape, locate

HOST_KEYS = ("environment", "contentRoot", "applicationName")
"""Keys of the host that belong to no section; .NET accepts them on the command line as well."""
ALIASES: Mapping[str, tuple[str, str]] = {"shutdowntimeoutseconds": ("HostOptions", "ShutdownTimeout")}
"""Host keys that are settings of the service under another name."""

_SEPARATOR = re.compile(r"__|:")
_MAX_CREDENTIAL_BYTES = 64 * 1024
_SHUTDOWN_VARIABLE = "dotnet_shutdowntimeoutseconds"


@dataclass(frozen=True, slots=True)
class CommandLine:
    settings: list[Setting]
    host: Mapping[str, str] = field(default_factory=dict)
    """Host keys that were given, by lower-case name."""


def from_file(file: FilePath, name: str, report: LoadReport) -> list[Setting]:
    """Return the leaves of a settings file; none, and a fault in the report, when it cannot be read."""
    try:
        leaves = read_leaves(decode(file.read_bytes()))
    except JsonFault as exc:
        text = f"{name}:{exc.line}:{exc.column}: {exc.reason}"
        report.faults.append(SettingsProblem(text, Origin("file", name, exc.line)))
        return []
    except OSError as exc:
        report.faults.append(SettingsProblem(f"{name}: cannot be read: {exc.strerror}", Origin("file", name)))
        return []
    return [Setting(_aliased(leaf.path), leaf.value, Origin("file", name, leaf.line)) for leaf in leaves]


def _aliased(path: Path) -> Path:
    return ALIASES.get(key_text(path).lower(), path)


def from_credentials(folder: FilePath, root: SectionShape, report: LoadReport) -> list[Setting]:
    """Return one setting per file, named `WebSocket__Token` or `WebSocket:Token`; a missing folder counts as empty."""
    found = ((file, _credential(file, report)) for file in credential_files(folder, root))
    return [
        Setting(_segments(file.name), value, Origin("credential", str(file)))
        for file, value in found
        if value is not None
    ]


def credential_files(folder: FilePath, root: SectionShape) -> list[FilePath]:
    """Return the files of a folder that are named like settings; none where it cannot be read."""
    try:
        return sorted(file for file in folder.iterdir() if _is_candidate(file, root))
    except OSError:
        return []


def _is_candidate(file: FilePath, root: SectionShape) -> bool:
    # Kubernetes mounts its volumes through `..data`; the prefix `ignore.` is a convention of .NET.
    return (
        not file.name.startswith((".", "ignore.")) and names_a_section(root, _segments(file.name)) and not file.is_dir()
    )


def _credential(file: FilePath, report: LoadReport) -> str | None:
    """Return the text without the line break that editors and `echo` append; None when it cannot be read."""
    origin = Origin("credential", str(file))
    try:
        if not is_regular_file(file):
            raise OSError(None, "it is not a regular file")
        with file.open("rb") as stream:
            data = stream.read(_MAX_CREDENTIAL_BYTES + 1)
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        report.faults.append(SettingsProblem(f"{origin}: this is not UTF-8", origin))
        return None
    except OSError as exc:
        report.faults.append(SettingsProblem(f"{origin}: cannot be read: {exc.strerror}", origin))
        return None
    if len(data) > _MAX_CREDENTIAL_BYTES:
        report.faults.append(SettingsProblem(f"{origin}: is larger than {_MAX_CREDENTIAL_BYTES // 1024} KiB", origin))
        return None
    return text.removesuffix("\n").removesuffix("\r")


def from_environment(environ: Mapping[str, str], root: SectionShape, report: LoadReport) -> list[Setting]:
    """Return the settings in variables such as `WebSocket__Url`, in any case; the separator may also be `:`."""
    found: dict[str, Setting] = {}
    for name in sorted(environ):
        path = ALIASES["shutdowntimeoutseconds"] if name.lower() == _SHUTDOWN_VARIABLE else _segments(name)
        if names_a_section(root, path):
            _add(found, Setting(path, environ[name], Origin("environment", name)), report)
        elif (meant := _meant_by(name, root)) is not None:
            text = f"environment variable {name} is not read{did_you_mean([meant])}"
            report.warnings.append(SettingsProblem(text, Origin("environment", name)))
    return [*_addresses(environ, report), *found.values()]


def from_host_environment(environ: Mapping[str, str], root: SectionShape, report: LoadReport) -> list[Setting]:
    """Return the settings in variables such as `DOTNET_WebSocket__Url`."""
    found: dict[str, Setting] = {}
    for name in sorted(environ):  # so that DOTNET_ replaces ASPNETCORE_
        path = _segments(dotnet.unprefixed(name) or "")
        if names_a_section(root, path):
            _add(found, Setting(path, environ[name], Origin("environment", name)), report)
    return list(found.values())


def _addresses(environ: Mapping[str, str], report: LoadReport) -> list[Setting]:
    """Return the host's addresses to listen on, such as ASPNETCORE_URLS."""
    found: dict[str, Setting] = {}
    for name in sorted(environ):
        if (dotnet.unprefixed(name) or name).lower() == dotnet.ADDRESSES and "://" in environ[name]:
            _add(found, Setting((dotnet.ADDRESSES,), environ[name], Origin("environment", name)), report)
    return list(found.values())


def _add(found: dict[str, Setting], setting: Setting, report: LoadReport) -> None:
    earlier = found.get(same_key(setting.path))
    if earlier is not None and earlier.value != setting.value:
        report.warnings.append(_two_spellings(earlier, setting))
    found[same_key(setting.path)] = setting


def _meant_by(name: str, root: SectionShape) -> str | None:
    """Return the variable that was meant by one with `_`, `.` or `-` instead of `__`, if there is such a setting."""
    first, *rest = re.split(r"__|[_.:-]", name)
    for path in ((first, *rest), (first, "".join(rest))):
        place = locate(root, path) if rest and all(path) else None
        if isinstance(place, KnownKey) and isinstance(place.shape, LeafShape):
            return "__".join(map(str, place.path))
    return None


def _two_spellings(earlier: Setting, later: Setting) -> SettingsProblem:
    text = (
        f"environment variables {earlier.origin.name} and {later.origin.name} name the same setting; the latter applies"
    )
    return SettingsProblem(text, later.origin)


def _segments(name: str) -> tuple[str, ...]:
    return tuple(_SEPARATOR.split(name))


def names_a_section(root: SectionShape, path: Sequence[str]) -> bool:
    """Return whether a name from a shared place names a section of the settings, exactly or with a typo.

    Longer names allow more typos. `Hub` is one letter away from many words of three letters, so there the next segment
    must be a key of that section.
    """
    if len(path) < 2:
        return False
    return any(_is_close_to(path, key.name, key.shape) for key in root.keys.values())


def _is_close_to(path: Sequence[str], section: str, shape: object) -> bool:
    allowed = min(2, (len(section) - 3) // 2)
    edits = distance(path[0].lower(), section.lower())
    knows_next = isinstance(shape, SectionShape) and path[1].lower() in shape.keys
    return edits <= allowed or (edits == allowed + 1 and knows_next)


def from_command_line(arguments: Sequence[str], report: LoadReport) -> CommandLine:
    """Read `--K=V`, `--K V`, `/K=V`, `/K V` and bare `K=V`; the last value of a key applies."""
    settings: dict[str, Setting] = {}
    host: dict[str, str] = {}
    for key, value in _pairs(arguments, report):
        path = _aliased(tuple(key.split(":")))
        if key.lower() in {name.lower() for name in HOST_KEYS}:
            host[key.lower()] = value
        else:
            settings[same_key(path)] = Setting(path, value, Origin("command line", f"--{key}"))
    return CommandLine(list(settings.values()), host)


def _pairs(arguments: Sequence[str], report: LoadReport) -> Iterator[tuple[str, str]]:
    waiting = deque(arguments)
    while waiting:
        key, equals, value = waiting.popleft().partition("=")
        name = _option(key)
        if equals and (name is not None or not key.startswith("-")):
            yield name or key, value
        elif name is None:
            place = len(arguments) - len(waiting)
            shown = f" ({key})" if key.startswith("-") else ""  # other text may be a secret
            _add_fault(report, f"argument {place}{shown} is not understood; settings are given as --Section:Key=VALUE")
        elif not waiting or waiting[0].startswith("--"):
            # .NET ignores a missing last value and reads an option as a value: both hide the mistake.
            _add_fault(report, f"--{name} needs a value: --{name}=VALUE")
        else:
            yield name, waiting.popleft()


def _option(key: str) -> str | None:
    for prefix in ("--", "/"):
        if key.startswith(prefix) and len(key) > len(prefix):
            return key[len(prefix) :]
    return None


def _add_fault(report: LoadReport, text: str) -> None:
    report.faults.append(SettingsProblem(f"command line: {text}", Origin("command line")))
