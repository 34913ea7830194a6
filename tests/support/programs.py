"""Real programs for tests of the kind `command`: a script in this Python, and the settings that allow it."""

import sys
import textwrap
from pathlib import Path
from typing import Any

from config.settings import CommandHandlerSettings, HandlersSettings, ProgramSettings

_PRELUDE = """
import os, signal, subprocess, sys, time
def mark(path, text):
    with open(path + ".part", "w") as file:
        file.write(str(text))
    os.rename(path + ".part", path)
"""


def script(folder: Path, body: str, name: str = "program") -> str:
    """An executable file; `mark(path, text)` writes a file that appears whole."""
    path = folder / name
    path.write_text(f"#!{sys.executable}\n{_PRELUDE}\n{textwrap.dedent(body)}", encoding="utf-8")
    path.chmod(0o755)
    return str(path)


def allowing(path: str, *, grace: int = 1500, max_output: int = 65536, **program: Any) -> HandlersSettings:
    """Settings with one program, `it`, that takes any argument."""
    one = ProgramSettings(**{"name": "it", "path": path, "patterns": (".*",), "max_arguments": 9} | program)
    return HandlersSettings(command=CommandHandlerSettings(programs=(one,), grace=grace, max_output=max_output))
