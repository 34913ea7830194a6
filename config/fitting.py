"""Gives each provider's leaves their proper place in the tree, and says which have none.

A key that is unknown inside a section of ours stops the start; a section of somebody else in a shared
settings file does not. Knows nothing of types and bounds.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from config.problems import Notes, Problem, did_you_mean
from config.settings import Settings
from config.shape import Leaf, Misfit, Place, locate, misplaced, shape_of
from config.tree import Empty, Path, Setting, key_text, same_key

_FOREIGN_LOGGING = (
    "logging:loglevel:microsoft",
    "logging:loglevel:system",
    "logging:debug",
    "logging:eventlog",
    "logging:eventsource",
)
"""What every .NET settings file says about libraries and log providers we don't have."""


def fit(layers: Iterable[Sequence[Setting]], notes: Notes) -> list[list[Setting]]:
    """The layers with every path in its proper spelling; what does not fit is left out and noted."""
    fitted: list[list[Setting]] = []
    for layer in layers:
        notes.warnings.extend(_leftovers(layer, fitted))
        fitted.append(list(_fitted(layer, notes)))
    return fitted


def _fitted(layer: Sequence[Setting], notes: Notes) -> Iterator[Setting]:
    told: set[tuple[str, str]] = set()
    for setting in layer:
        if _is_foreign_logging(setting.path):
            continue
        place = locate(shape_of(Settings), setting.path)
        if isinstance(place, Misfit):
            thing = (setting.origin.name, same_key(place.path))
            if thing not in told:  # an unknown section with ten keys is one fault
                told.add(thing)
                _tell(setting, place, notes)
        elif reason := misplaced(place, setting.value):
            key = key_text(place.path)
            notes.faults.append(Problem(f"{setting.origin}: {key} {reason}", setting.origin, key))
        else:
            yield replace(setting, path=place.path)


def _is_foreign_logging(path: Path) -> bool:
    key = same_key(path)
    return any(key == name or key.startswith((f"{name}:", f"{name}.")) for name in _FOREIGN_LOGGING)


def _tell(setting: Setting, misfit: Misfit, notes: Notes) -> None:
    origin, key = setting.origin, key_text(misfit.path)
    if len(misfit.path) > 1:
        tail = f"; {misfit.reason}" if misfit.reason else did_you_mean(misfit.candidates)
        notes.faults.append(Problem(f"{origin}: unknown setting {key!r}{tail}", origin, key))
    elif origin.kind != "file":
        tail = did_you_mean(_respelled(key) or misfit.candidates)
        notes.faults.append(Problem(f"{origin}: no section {key!r}{tail}", origin, key))
    elif not key.startswith("$"):  # "$schema" is for editors
        tail = did_you_mean(misfit.candidates)
        notes.warnings.append(Problem(f"{origin}: unknown section {key!r} is ignored{tail}", origin, key))


def _respelled(key: str) -> list[str]:
    """On a command line people write the separators of variables and of other programs."""
    place = locate(shape_of(Settings), tuple(key.replace("__", ":").replace(".", ":").split(":")))
    return [key_text(place.path)] if isinstance(place, Place) and len(place.path) > 1 else []


def _leftovers(layer: Sequence[Setting], earlier: Iterable[Sequence[Setting]]) -> Iterator[Problem]:
    """Lists merge by index and null unsets one leaf, as in .NET: a file that meant to replace a list is told."""
    below = {same_key(setting.path): setting for settings in earlier for setting in settings}
    standing = [setting for setting in below.values() if setting.value is not None]
    for prefix, (length, setting) in _lists(layer).items():
        rest = [other for other in standing if _index_under(other.path, prefix) >= length]
        if rest:
            yield _leftover(setting, prefix, length, rest[0])
    for setting in layer:
        if setting.origin.kind == "file" and setting.value is None:
            rest = [other for other in standing if same_key(other.path).startswith(f"{same_key(setting.path)}:")]
            if rest:
                text = f"{setting.origin}: {key_text(setting.path)} is null here, but {key_text(rest[0].path)} from "
                yield Problem(f"{text}{rest[0].origin} stays; set that to null to remove it", setting.origin)


def _leftover(setting: Setting, prefix: str, length: int, other: Setting) -> Problem:
    name = key_text(other.path[: prefix.count(":") + 1])
    many = "1 element" if length == 1 else f"{length} elements"
    text = f"{setting.origin}: {name} has {many} here, but lists merge by index: "
    text += f"{key_text(other.path)} from {other.origin} stays; set it to null to remove it"
    return Problem(text, setting.origin, name)


def _lists(layer: Sequence[Setting]) -> dict[str, tuple[int, Setting]]:
    """The lists a settings file writes as such, by key: how long they are, and a leaf to point at."""
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
    """The index at which a path enters the list `prefix`; -1 when it does not."""
    for depth, segment in enumerate(path):
        if isinstance(segment, int) and same_key(path[:depth]) == prefix:
            return segment
    return -1


def is_secret_leaf(setting: Setting) -> bool:
    """Whether somebody wrote a secret here."""
    place = locate(shape_of(Settings), setting.path)
    shape = place.shape if isinstance(place, Place) else None
    return isinstance(shape, Leaf) and shape.secret and bool(setting.value)
