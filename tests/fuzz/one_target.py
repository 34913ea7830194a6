"""`python -m tests.fuzz.one_target TARGET SECONDS`: fuzz one target from its corpus; new inputs stay in build/fuzz.

The exit code is 0 when nothing was found. An input that crashes, hangs or makes memory grow is written to
build/fuzz/TARGET-crash-…, TARGET-timeout-… or TARGET-oom-….
"""

import sys

import atheris

from tests.fuzz.targets import CORPUS, FOUND, TARGETS

_HANG_SECONDS = 60
"""For one input, which takes milliseconds; a busy machine must not look like a hang."""
_MEGABYTES = 1024
_NOT_INSTRUMENTED = ["worker.insignia.roster.vocabulary"]
"""Words that are known, which take no input."""


def main() -> None:
    name, seconds = sys.argv[1], int(sys.argv[2])
    target = TARGETS[name]
    with atheris.instrument_imports(include=list(target.instrumented), exclude=_NOT_INSTRUMENTED):
        run = target.load()
    found = FOUND / name
    found.mkdir(parents=True, exist_ok=True)
    options = {
        "max_total_time": seconds,
        "max_len": target.max_bytes,
        "timeout": _HANG_SECONDS,
        "rss_limit_mb": _MEGABYTES,
        "artifact_prefix": f"{FOUND}/{name}-",
        "print_final_stats": 1,
    }
    arguments = [f"-{option}={value}" for option, value in options.items()]
    atheris.Setup([sys.argv[0], *arguments, str(found), str(CORPUS / name)], run)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
