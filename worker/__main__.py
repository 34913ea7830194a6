"""`insignia-worker`, and `python -m worker`."""

import importlib.util
import sys
from pathlib import Path

_INTERNAL = 70


def _homes() -> dict[str, Path]:
    """The folders our two packages would be imported from."""
    found = {}
    for name in ("worker", "config"):
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.origin is not None:
            found[name] = Path(spec.origin).resolve().parent.parent
    return found


def main() -> None:
    """Check that nobody else's `config` or `worker` stands in the way, then run the command line."""
    homes = _homes()
    if len(set(homes.values())) != 1 or len(homes) != 2:
        ours = Path(__file__).resolve().parent.parent
        intruder = next((str(home / name) for name, home in homes.items() if home != ours), "a missing package")
        print(
            f"insignia-worker: {intruder} stands in the way of our package of that name; "
            "install insignia-worker in an environment of its own (pipx, venv)",
            file=sys.stderr,
        )
        sys.exit(_INTERNAL)
    from worker.cli import run

    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
