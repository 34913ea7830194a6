"""Files that only their owner may read: created with mode 0600, and secrets that are generated once."""

import os
import secrets
from pathlib import Path

from worker.disk.room import lack_of_room
from worker.errors import OpenToOthers, StoreFull, StoreUnwritable, UnsafeKey

_OPEN = 0o027
"""What may not be allowed: writing to the group, anything to others."""


def keep_files_private() -> None:
    """Let this process and its children create files for their owner alone, whatever umask they were started with."""
    os.umask(0o077)


def open_new(path: Path) -> int:
    """Create the file for its owner alone (0600) and open it for writing; return the descriptor.

    Raises FileExistsError if there is one, another OSError if it cannot be created.
    """
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)


def replace_content(path: Path, content: bytes) -> None:
    """Write a file, or replace it as a whole: it has one content or the other, also after a power cut.

    Raises OSError. Its name is certain to survive once the folder is synced.
    """
    draft = path.with_name(f"{path.name}.new")
    draft.unlink(missing_ok=True)  # of a process that was killed
    with os.fdopen(open_new(draft), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)


def secret_in(path: Path, size: int) -> tuple[str, bool]:
    """Return the secret in the file, and whether it was generated now because there was no file.

    `size` is the number of random bytes to generate, and the least number of characters to accept. Raises UnsafeKey
    if the secret is shorter or others may read the file, StoreUnwritable or StoreFull if it cannot be read or created.
    """
    try:
        created = _create(path, size)
        value = path.read_text(errors="replace").strip()
        mode = path.stat().st_mode
    except OSError as exc:
        if (lack := lack_of_room(exc, path)) is not None:
            raise StoreFull(lack) from exc
        raise StoreUnwritable(
            f"{path}: this key cannot be read or created ({exc.strerror}): give this user the right to the file and "
            "its folder"
        ) from exc
    if mode & 0o077:
        raise UnsafeKey(
            f"{path}: others may read this key; run `chmod 600 {path}` if no one has, else delete it for a new one"
        )
    if len(value.encode()) < size:
        raise UnsafeKey(
            f"{path}: the key has {len(value.encode())} bytes, at least {size} are needed: delete it, and the next "
            "start generates a new key"
        )
    return value, created


def require_closed(path: Path) -> None:
    """Raise OpenToOthers if other users may read or change the file or folder, or could have made it.

    Members of the file's group may read it, such as a program for backups. A path that does not exist is closed, and so
    is what belongs to this user in a folder that only this user may enter.
    """
    try:
        state, folder = path.stat(), path.resolve().parent.stat()
    except OSError:
        return
    ours = (os.geteuid(), 0)
    is_reachable = folder.st_mode & 0o011 or folder.st_uid not in ours
    if (state.st_mode & _OPEN and is_reachable) or state.st_uid not in ours:
        kind, mode = ("folder", "700") if path.is_dir() else ("file", "600")
        raise OpenToOthers(
            f"{path}: other users may read or change this {kind}; look whether one has, then run `chmod {mode} {path}`"
            f" and `chown {os.geteuid()} {path}`"
        )


def _create(path: Path, size: int) -> bool:
    """Write the secret to another file and link it into place, so that no reader sees half a secret."""
    if path.exists():
        return False
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
    descriptor = open_new(draft)
    try:
        os.write(descriptor, secrets.token_urlsafe(size).encode() + b"\n")
        os.fsync(descriptor)
        os.link(draft, path)
    except FileExistsError:  # another start was faster: both use its secret
        return False
    finally:
        os.close(descriptor)
        draft.unlink()
    return True
