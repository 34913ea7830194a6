"""`python -m tests.support.history FILE...` judges recorded histories: 0 clean, 1 broken, 2 not readable."""

import argparse
import sys
from pathlib import Path

from tests.support.history.events import read_events
from tests.support.history.judge import judge


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("history", nargs="+", type=Path)
    parser.add_argument("--max-attempts", type=int)
    options = parser.parse_args(argv)
    try:
        for path in options.history:
            path.stat()
        verdict = judge(read_events(options.history), max_attempts=options.max_attempts)
    except (OSError, ValueError) as exc:
        print(exc, file=sys.stderr)
        return 2
    print(verdict)
    return 0 if verdict.is_clean else 1


if __name__ == "__main__":
    sys.exit(main())
