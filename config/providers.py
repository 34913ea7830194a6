"""The places settings come from, each read into leaves. Knows no order among them and nothing of types.

Which variables and which files of a shared folder are ours is decided here, by their first segment:
others belong to somebody else and are neither judged nor even read.
"""

import re
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path as FilePath

from config.jsonfile import JsonFault, decode, read_leaves
from config.problems import Notes, Origin, Problem, distance
from config.shape import Section
from config.tree import Path, Setting, key_text, same_key

HOST_KEYS = ("environment", "contentRoot", "applicationName")
"""Keys of the host, not of a section; .NET takes them from the command line too."""
ALIASES: Mapping[str, tuple[str, str]] = {"shutdowntimeoutseconds": ("HostOptions", "ShutdownTimeout")}
"""Host keys that are settings of ours under another name."""

_SEPARATOR = re.compile(r"__|:")
_LARGEST_CREDENTIAL = 64 * 1024
_SHUTDOWN_VARIABLE = "dotnet_shutdowntimeoutseconds"


@dataclass(frozen=True, slots=True)
class CommandLine:
    settings: list[Setting]
    host: Mapping[str, str] = field(default_factory=dict)
    """Host keys that were given, by lower-case name."""


def from_file(file: FilePath, name: str, notes: Notes) -> list[Setting]:
    """The leaves of a settings file; none when it cannot be read, which is noted."""
    try:
        leaves = read_leaves(decode(file.read_bytes()))
    except JsonFault as exc:
        text = f"{name}:{exc.line}:{exc.column}: {exc.reason}"
        notes.faults.append(Problem(text, Origin("file", name, exc.line)))
        return []
    except OSError as exc:
        notes.faults.append(Problem(f"{name}: cannot be read: {exc.strerror}", Origin("file", name)))
        return []
    return [Setting(_aliased(leaf.path), leaf.value, Origin("file", name, leaf.line)) for leaf in leaves]


def _aliased(path: Path) -> Path:
    return ALIASES.get(key_text(path).lower(), path)


def from_credentials(folder: FilePath, root: Section, notes: Notes) -> list[Setting]:
    """One setting per file, named `WebSocket__Token` or `WebSocket:Token`; a folder that is not there is empty."""
    try:
        files = sorted(file for file in folder.iterdir() if _is_candidate(file, root))
    except OSError:
        return []
    found = ((file, _credential(file, notes)) for file in files)
    return [
        Setting(_segments(file.name), value, Origin("credential", str(file)))
        for file, value in found
        if value is not None
    ]


def _is_candidate(file: FilePath, root: Section) -> bool:
    # A leading dot: Kubernetes mounts its volumes through `..data`. `ignore.` is .NET's own convention.
    return not file.name.startswith((".", "ignore.")) and concerns(root, _segments(file.name)) and not file.is_dir()


def _credential(file: FilePath, notes: Notes) -> str | None:
    """The text without the line break that editors and `echo` put at its end."""
    origin = Origin("credential", str(file))
    try:
        if not file.is_file():
            raise OSError(None, "it is no regular file")
        with file.open("rb") as stream:
            data = stream.read(_LARGEST_CREDENTIAL + 1)
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        notes.faults.append(Problem(f"{origin}: this is no UTF-8", origin))
        return None
    except OSError as exc:
        notes.faults.append(Problem(f"{origin}: cannot be read: {exc.strerror}", origin))
        return None
    if len(data) > _LARGEST_CREDENTIAL:
        notes.faults.append(Problem(f"{origin}: is larger than {_LARGEST_CREDENTIAL // 1024} KiB", origin))
        return None
    return text.removesuffix("\n").removesuffix("\r")


def from_environment(environ: Mapping[str, str], root: Section, notes: Notes) -> list[Setting]:
    """Variables such as `WebSocket__Url`; the separator may be `:` too, and case does not count."""
    found: dict[str, Setting] = {}
    for name in sorted(environ):
        path = ALIASES["shutdowntimeoutseconds"] if name.lower() == _SHUTDOWN_VARIABLE else _segments(name)
        if not concerns(root, path):
            continue
        setting = Setting(path, environ[name], Origin("environment", name))
        earlier = found.get(same_key(path))
        if earlier is not None and earlier.value != setting.value:
            notes.warnings.append(_two_spellings(earlier, setting))
        found[same_key(path)] = setting
    return list(found.values())


def _two_spellings(earlier: Setting, later: Setting) -> Problem:
    text = (
        f"environment variables {earlier.origin.name} and {later.origin.name} name the same setting; the latter holds"
    )
    return Problem(text, later.origin)


def _segments(name: str) -> tuple[str, ...]:
    return tuple(_SEPARATOR.split(name))


def concerns(root: Section, path: Sequence[str]) -> bool:
    """Whether a name from a shared place means us: its section is ours, or is ours but for a typo.

    How much of a typo depends on the length: `Hub` is one letter away from half the words of three letters,
    so there the next segment must be a key of that section.
    """
    if len(path) < 2:
        return False
    return any(_means(path, key.name, key.shape) for key in root.keys.values())


def _means(path: Sequence[str], section: str, shape: object) -> bool:
    sure = min(2, (len(section) - 3) // 2)
    edits = distance(path[0].lower(), section.lower())
    knows_next = isinstance(shape, Section) and path[1].lower() in shape.keys
    return edits <= sure or (edits == sure + 1 and knows_next)


def from_command_line(arguments: Sequence[str], notes: Notes) -> CommandLine:
    """`--K=V`, `--K V`, `/K=V`, `/K V` and bare `K=V`; the last of a key's values holds."""
    settings: dict[str, Setting] = {}
    host: dict[str, str] = {}
    for key, value in _pairs(arguments, notes):
        path = _aliased(tuple(key.split(":")))
        if key.lower() in {name.lower() for name in HOST_KEYS}:
            host[key.lower()] = value
        else:
            settings[same_key(path)] = Setting(path, value, Origin("command line", f"--{key}"))
    return CommandLine(list(settings.values()), host)


def _pairs(arguments: Sequence[str], notes: Notes) -> Iterator[tuple[str, str]]:
    waiting = deque(arguments)
    while waiting:
        key, equals, value = waiting.popleft().partition("=")
        name = _option(key)
        if equals and (name is not None or not key.startswith("-")):
            yield name or key, value
        elif name is None:
            place = len(arguments) - len(waiting)
            shown = f" ({key})" if key.startswith("-") else ""  # anything else may be a secret in the wrong place
            _refuse(notes, f"argument {place}{shown} is not understood; settings are given as --Section:Key=VALUE")
        elif not waiting or waiting[0].startswith("--"):
            # .NET ignores a missing last value and takes an option for a value: both hide what was forgotten.
            _refuse(notes, f"--{name} needs a value: --{name}=VALUE")
        else:
            yield name, waiting.popleft()


def _option(key: str) -> str | None:
    for prefix in ("--", "/"):
        if key.startswith(prefix) and len(key) > len(prefix):
            return key[len(prefix) :]
    return None


def _refuse(notes: Notes, text: str) -> None:
    notes.faults.append(Problem(f"command line: {text}", Origin("command line")))
