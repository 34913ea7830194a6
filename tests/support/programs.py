"""Real programs for tests of the kind `command`: a script in this Python, and the settings that allow it."""

import sys
import textwrap
from pathlib import Path
from typing import Any

from config.handler_settings import CommandHandlerSettings, HandlersSettings, ProgramSettings

_PRELUDE = """
import os, signal, subprocess, sys, time
def mark(path, text):
    with open(path + ".part", "w") as file:
        file.write(str(text))
    os.rename(path + ".part", path)
def descendants(path, apart):
    # Starts a child, in a session of its own if `apart`, and a grandchild that always has one; returns their pids.
    child = os.fork()
    if child == 0:
        if apart:
            os.setsid()
        grandchild = os.fork()
        if grandchild == 0:
            os.setsid()
            time.sleep(600)
        mark(path + ".grandchild", grandchild)
        time.sleep(600)
    while not os.path.exists(path + ".grandchild"):
        time.sleep(0.005)
    return child, open(path + ".grandchild").read()
"""


def script(folder: Path, body: str, name: str = "program") -> str:
    """Return an executable file; its `mark(path, text)` writes a file that is complete when it appears,
    and its `descendants(path, apart)` starts a child and a grandchild."""
    path = folder / name
    path.write_text(f"#!{sys.executable}\n{_PRELUDE}\n{textwrap.dedent(body)}", encoding="utf-8")
    path.chmod(0o755)
    return str(path)


def allowing(path: str, *, grace: int = 1500, max_output: int = 65536, **program: Any) -> HandlersSettings:
    """Return settings with one program, `it`, that accepts any argument."""
    one = ProgramSettings(**{"name": "it", "path": path, "patterns": (".*",), "max_arguments": 9} | program)
    return HandlersSettings(command=CommandHandlerSettings(programs=(one,), grace=grace, max_output=max_output))
