"""Finds the known key for each leaf of the sources, and reports the leaves that have none.

An unknown key inside a known section is a fault; an unknown section in a settings file is a warning, because .NET
programs share such files. Types and bounds are checked elsewhere.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from config import dotnet
from config.errors import LoadReport, SettingsProblem, did_you_mean
from config.merge import Empty, Path, Setting, key_text, same_key
from config.schema import KnownKey, LeafShape, UnknownKey, form_fault, locate, shape_of
from config.settings import Settings


def check_keys(layers: Iterable[Sequence[Setting]], report: LoadReport) -> list[list[Setting]]:
    """Return the layers with keys in their canonical spelling; leaves without a known key are reported and omitted."""
    checked: list[list[Setting]] = []
    for layer in layers:
        report.warnings.extend(_unreplaced_elements(layer, checked))
        checked.append(list(_known_settings(layer, report)))
    return checked


def _known_settings(layer: Sequence[Setting], report: LoadReport) -> Iterator[Setting]:
    reported: set[tuple[str, str]] = set()
    for setting in dotnet.translated(layer):
        if dotnet.is_ignored(setting):
            continue
        place = locate(shape_of(Settings), setting.path)
        if isinstance(place, UnknownKey):
            thing = (setting.origin.name, same_key(place.path))
            if thing not in reported:  # an unknown section with ten keys is reported once
                reported.add(thing)
                _report_unknown(setting, place, report)
        elif reason := form_fault(place, setting.value):
            key = key_text(place.path)
            report.faults.append(SettingsProblem(f"{setting.origin}: {key} {reason}", setting.origin, key))
        else:
            yield replace(setting, path=place.path)


def _report_unknown(setting: Setting, unknown: UnknownKey, report: LoadReport) -> None:
    origin, key = setting.origin, key_text(unknown.path)
    near = [name for name in unknown.candidates if name.startswith("Logging:")]
    if dotnet.is_log_provider(setting.path) and len(unknown.path) == 2 and not near:
        text = f"{origin}: there is no log provider {str(unknown.path[1])!r} here; its section is ignored"
        report.warnings.append(SettingsProblem(text, origin, key))
    elif len(unknown.path) > 1:
        tail = f"; {unknown.reason}" if unknown.reason else did_you_mean(unknown.candidates)
        report.faults.append(SettingsProblem(f"{origin}: unknown setting {key!r}{tail}", origin, key))
    elif origin.kind != "file":
        tail = did_you_mean(_respelled(key) or unknown.candidates)
        report.faults.append(SettingsProblem(f"{origin}: section {key!r} does not exist{tail}", origin, key))
    elif not key.startswith("$"):  # "$schema" is for editors
        tail = (
            "; the address is set by Http:Url"
            if key.lower() in ("kestrel", "urls")
            else did_you_mean(unknown.candidates)
        )
        report.warnings.append(SettingsProblem(f"{origin}: unknown section {key!r} is ignored{tail}", origin, key))


def _respelled(key: str) -> list[str]:
    """Return the key that was meant by one with the separators of variables or of other programs, if any."""
    place = locate(shape_of(Settings), tuple(key.replace("__", ":").replace(".", ":").split(":")))
    return [key_text(place.path)] if isinstance(place, KnownKey) and len(place.path) > 1 else []


def _unreplaced_elements(layer: Sequence[Setting], earlier: Iterable[Sequence[Setting]]) -> Iterator[SettingsProblem]:
    """Yield a warning for each list or section that a file seems to replace, while elements of earlier layers stay.

    As in .NET, lists merge by index and null removes a single leaf.
    """
    below = {same_key(setting.path): setting for settings in earlier for setting in settings}
    effective = [setting for setting in below.values() if setting.value is not None]
    for prefix, (length, setting) in _lists(layer).items():
        rest = [other for other in effective if _index_under(other.path, prefix) >= length]
        if rest:
            yield _unreplaced(setting, prefix, length, rest[0])
    for setting in layer:
        if setting.origin.kind == "file" and setting.value is None:
            rest = [other for other in effective if same_key(other.path).startswith(f"{same_key(setting.path)}:")]
            if rest:
                text = f"{setting.origin}: {key_text(setting.path)} is null here, but {key_text(rest[0].path)} from "
                yield SettingsProblem(f"{text}{rest[0].origin} stays; set that to null to remove it", setting.origin)


def _unreplaced(setting: Setting, prefix: str, length: int, other: Setting) -> SettingsProblem:
    name = key_text(other.path[: prefix.count(":") + 1])
    many = "1 element" if length == 1 else f"{length} elements"
    text = f"{setting.origin}: {name} has {many} here, but lists merge by index: "
    text += f"{key_text(other.path)} from {other.origin} stays; set it to null to remove it"
    return SettingsProblem(text, setting.origin, name)


def _lists(layer: Sequence[Setting]) -> dict[str, tuple[int, Setting]]:
    """Return the lists in a layer by key, with their length and one of their leaves."""
    lengths: dict[str, tuple[int, Setting]] = {}
    for setting in layer:
        if setting.value is Empty.LIST:
            lengths[same_key(setting.path)] = (0, setting)
        for depth, segment in enumerate(setting.path):
            if isinstance(segment, int):
                prefix = same_key(setting.path[:depth])
                first = lengths.get(prefix, (0, setting))[1]
                lengths[prefix] = (segment + 1, first)
    return lengths


def _index_under(path: Path, prefix: str) -> int:
    """Return the index of a path in the list `prefix`; -1 when it is not part of it."""
    for depth, segment in enumerate(path):
        if isinstance(segment, int) and same_key(path[:depth]) == prefix:
            return segment
    return -1


def is_secret_leaf(setting: Setting) -> bool:
    """Return whether this leaf gives a value to a secret."""
    place = locate(shape_of(Settings), setting.path)
    shape = place.shape if isinstance(place, KnownKey) else None
    return isinstance(shape, LeafShape) and shape.secret and bool(setting.value)
