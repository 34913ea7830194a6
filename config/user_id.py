"""What may be a user's id: one rule for settings, jobs, tokens and the hub."""

from typing import Final, TypeGuard

MAX_USER_ID: Final = 256


def is_user_id(value: object) -> TypeGuard[str]:
    """Return whether the value is a user id: 1 to 256 printable characters.

    Ids are compared as they are, without case folding or normalisation, so that no look-alike is equal.
    """
    return isinstance(value, str) and 0 < len(value) <= MAX_USER_ID and value.isprintable()


def checked_user_id(value: str) -> str:
    """Return the user id. Raises ValueError when it is none."""
    if not is_user_id(value):
        raise ValueError(f"must be 1 to {MAX_USER_ID} printable characters, without invisible ones")
    return value
