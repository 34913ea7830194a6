"""Names the limit of the system that an error comes from, and what to do about it."""

import errno
import os
import resource

_REMEDIES = {
    errno.EMFILE: "open files of this process ({files} are allowed): raise LimitNOFILE= of the unit, or `ulimit -n`",
    errno.ENFILE: "open files of this machine: raise fs.file-max, or close what has them open",
    errno.EAGAIN: "processes and threads: raise TasksMax= of the unit, the container's pids limit, or `ulimit -u`",
    errno.ENOMEM: "memory: raise MemoryMax= of the unit or the container's limit, or lower Worker:Concurrency",
}


def limit_of(exc: BaseException) -> str | None:
    """Return which limit a failure to start something comes from, with the remedy; None: it has another cause."""
    match exc:
        case MemoryError():
            number = errno.ENOMEM
        case RuntimeError() if "start new thread" in str(exc):
            number = errno.EAGAIN
        case OSError():
            number = exc.errno or 0
        case _:
            return None
    remedy = _REMEDIES.get(number)
    return None if remedy is None else remedy.format(files=_allowed_files())


def _allowed_files() -> str:
    try:
        return str(resource.getrlimit(resource.RLIMIT_NOFILE)[0])
    except (OSError, ValueError):  # a system call filter may forbid the question
        return "too few"


def exhausted_files() -> str | None:
    """Return the limit on open files, with the remedy, if no further file can be opened now."""
    try:
        os.close(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))
    except OSError as exc:
        return limit_of(exc)
    return None
