"""What is the same for every command: settings in .NET's spelling, which may appear anywhere on the command line."""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from config import paths
from config.errors import LoadReport
from worker.cli.output import print_warning

if TYPE_CHECKING:
    from config.loader import LoadedSettings

_HOST_OPTIONS = {"config": "config_file", "contentroot": "content_root", "environment": "environment"}
_HOST_SETTINGS = {"shutdowntimeoutseconds", "urls"}
"""Keys of .NET's host that are settings of the service under another name."""


@dataclass(slots=True)
class Invocation:
    """The settings given on the command line, and the options that say where to find further settings."""

    settings: list[str] = field(default_factory=list)
    config_file: Path | None = None
    content_root: Path | None = None
    environment: str | None = None

    def load(self, defaults: Sequence[str] = (), environ: Mapping[str, str] | None = None) -> "LoadedSettings":
        """Load the settings and print every warning. Raises ConfigError, which names all faults.

        `defaults` are settings that the command line overrides; `environ` is added to the process's environment.
        """
        loaded = self.read(defaults, environ)
        for warning in loaded.warnings:
            print_warning(warning)
        return loaded

    def read(self, defaults: Sequence[str] = (), environ: Mapping[str, str] | None = None) -> "LoadedSettings":
        """Load the settings without printing warnings; the result carries them."""
        from config.loader import load

        return load(
            [*defaults, *self.settings],
            environ={**os.environ, **(environ or {})},
            cwd=Path.cwd(),
            config_file=self.config_file,
            content_root=self.content_root,
            environment=self.environment,
        )

    def find_state_dir(self) -> Path | None:
        """Return the state directory without loading any setting, which takes most of a short command's time.

        None when there is something to report first: then `load` finds the directory and reports it.
        """
        report = LoadReport()
        found = paths.find(
            environ=os.environ,
            cwd=Path.cwd(),
            config_file=self.config_file,
            content_root=self.content_root,
            environment=paths.environment_name(self.environment, os.environ, report),
            system_folder=paths.SYSTEM_FOLDER,
            report=report,
        )
        return None if self.settings or report.faults or report.warnings else found.state_dir


def split(argv: Sequence[str]) -> tuple[list[str], Invocation]:
    """Separate settings and host options from the command; return the command's own words and the invocation."""
    rest: list[str] = []
    invocation = Invocation()
    words = iter(argv)
    for word in words:
        name, equals, value = word.partition("=")
        option = _host_option(name, has_value=bool(equals))
        if option is not None:
            _set_host_option(invocation, option, value if equals else _value_after(name, words))
        elif _is_setting(word):
            invocation.settings.append(word)
            if not equals and name.startswith(("--", "/")) and (following := next(words, None)) is not None:
                invocation.settings.append(following)
        else:
            rest.append(word)
    return rest, invocation


def _value_after(name: str, words: Iterator[str]) -> str:
    value = next(words, None)
    if value is None:
        raise typer.BadParameter(f"{name} needs a value")
    return value


def _host_option(name: str, *, has_value: bool) -> str | None:
    """Recognise `--environment X`, `/environment X` and `environment=X` in any case, as .NET's host does."""
    bare = name.removeprefix("--").removeprefix("/").lower()
    return _HOST_OPTIONS.get(bare) if name.startswith(("--", "/")) or has_value else None


def _set_host_option(invocation: Invocation, name: str, value: str) -> None:
    setattr(invocation, name, value if name == "environment" else Path(value))


def _is_setting(word: str) -> bool:
    """Recognise `--Section:Key…` with any section; `/Section:Key` and `Section:Key=` only with one that exists."""
    name = word.partition("=")[0]
    if name.removeprefix("--").removeprefix("/").lower() in _HOST_SETTINGS and name.startswith(("--", "/")):
        return True
    if ":" not in name or "://" in name:
        return False
    if name.startswith("--"):
        return True
    section = name.removeprefix("/").partition(":")[0].lower()
    # A payload in JSON has colons too; the settings' models, which are slow to import, are not needed to rule it out.
    return section.isidentifier() and (name.startswith("/") or "=" in word) and section in _section_names()


def _section_names() -> set[str]:
    from config.settings import Settings

    return {name.replace("_", "") for name in Settings.model_fields}
