"""All benchmarks one by one: `python -m bench [NAME ...]`; the names are those of ALL."""

import subprocess
import sys

ALL = ("store", "search", "end_to_end", "latency", "memory", "watched", "link", "hub", "sockets", "files", "insignia")


def main() -> None:
    """Each in a process of its own, so that none warms or burdens the next."""
    chosen = [name for name in sys.argv[1:] if name in ALL] or list(ALL)
    unknown = [name for name in sys.argv[1:] if name not in ALL]
    if unknown:
        sys.exit(f"unknown benchmark {', '.join(unknown)}; there are: {', '.join(ALL)}")
    for name in chosen:
        print(f"\n== {name}", flush=True)
        subprocess.run([sys.executable, "-m", f"bench.{name}"], check=True)


if __name__ == "__main__":
    main()
