"""Names of owners: one start of the service on one boot of a machine."""

from uuid import uuid4


def new_owner(boot: str) -> str:
    """Return the name of an owner that starts now; `boot` identifies the boot of its machine, empty if unknown."""
    return f"{uuid4().hex}@{boot}"


def boot_of(owner: str) -> str:
    """Return the boot in which the owner was started; an empty string if its name does not say."""
    return owner.rstrip("~").partition("@")[2]
