"""`insignia-worker`, and `python -m worker`."""

import faulthandler
import importlib.util
import os
import signal
import sys
from pathlib import Path

_INTERNAL = 70
_SERVICES = {"run", "hub"}
"""Commands that a signal stops with exit code 0, from their first moment to their last."""


def _package_folders() -> dict[str, Path]:
    """Return the folder that each of our two packages would be imported from."""
    found = {}
    for name in ("worker", "config"):
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.origin is not None:
            found[name] = Path(spec.origin).resolve().parent.parent
    return found


def _open_standard_streams() -> None:
    """Open the null device where a standard stream is closed: no other file may get its number, and be written to."""
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(descriptor, True)
    os.close(descriptor)
    sys.stdin = sys.stdin or open(0, closefd=False)  # noqa: SIM115 -- it stays open until the end
    sys.stdout = sys.stdout or open(1, "w", closefd=False)  # noqa: SIM115 -- it stays open until the end
    sys.stderr = sys.stderr or open(2, "w", closefd=False)  # noqa: SIM115 -- it stays open until the end


def _end_early(_number: int, _frame: object) -> None:
    """End at once: nothing was opened yet. As process 1 of a container, a signal without a handler would be lost."""
    os._exit(0)


def main() -> None:
    """Check that no other package called `config` or `worker` would be imported, then run the command line."""
    is_service = bool(_SERVICES.intersection(sys.argv[1:]))
    if is_service:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, _end_early)
    _open_standard_streams()
    if is_service:
        # A crash, and the SIGABRT of systemd's watchdog, leave the stack in the log. That of the event loop's thread is
        # enough; to walk through other threads while they run can crash the process once more.
        faulthandler.enable(2, all_threads=False)
    folders = _package_folders()
    if len(set(folders.values())) != 1 or len(folders) != 2:
        own = Path(__file__).resolve().parent.parent
        other = next((str(folder / name) for name, folder in folders.items() if folder != own), "a missing package")
        print(
            f"insignia-worker: {other} hides the package of that name that insignia-worker needs; "
            "install insignia-worker in an environment of its own (pipx, venv)",
            file=sys.stderr,
        )
        sys.exit(_INTERNAL)
    from worker.cli.app import run

    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
