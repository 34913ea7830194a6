"""Write to disk what the operating system still holds in memory."""

import os
from pathlib import Path


def sync(path: Path) -> None:
    """Sync a file, or the names in a folder; what is found there survives a power cut. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
