"""A machine for tests of settings: folders of its own, and nothing of the real environment."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from config.errors import ConfigError
from config.loader import LoadedSettings, load


@dataclass(frozen=True)
class Site:
    """`folder` contains `here` (the current folder), `etc`, `home` and `secrets`."""

    folder: Path
    environ: dict[str, str] = field(default_factory=dict)

    @property
    def here(self) -> Path:
        return self.path("here")

    def path(self, name: str) -> Path:
        path = self.folder / name
        path.mkdir(parents=True, exist_ok=True)
        return path

    def write(self, text: str | bytes, name: str = "appsettings.json", folder: Path | None = None) -> Path:
        file = (folder or self.here) / name
        file.write_bytes(text.encode() if isinstance(text, str) else text)
        file.chmod(0o600)
        return file

    def load(self, *argv: str, environ: Mapping[str, str] | None = None, **options: Any) -> LoadedSettings:
        return load(
            argv,
            environ={"HOME": str(self.path("home")), **self.environ, **(environ or {})},
            cwd=self.here,
            system_folder=self.path("etc"),
            secrets_folder=self.path("secrets"),
            **options,
        )

    def faults(self, *argv: str, **options: Any) -> list[str]:
        """Load settings with faults; return all of them."""
        with pytest.raises(ConfigError) as caught:
            self.load(*argv, **options)
        return [str(problem) for problem in caught.value.problems]

    def fault(self, *argv: str, **options: Any) -> str:
        """Load settings with exactly one fault; return it."""
        (fault,) = self.faults(*argv, **options)
        return fault

    def warnings(self, *argv: str, **options: Any) -> list[str]:
        return [str(warning) for warning in self.load(*argv, **options).warnings]
