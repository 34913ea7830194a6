"""What the arguments of a server's acknowledgement say: accepted, or rejected and why."""

from collections.abc import Sequence
from typing import Any, Final

from worker.notifiers.socketio.server_words import words_of

PLAIN_ACCEPTANCES: Final = frozenset(("[]", "[true]", "[null]", '[{"ok":true}]', '["ok"]'))
"""The encoded arguments of nearly every acknowledgement: they are accepted without being parsed."""


def rejection(arguments: Sequence[Any]) -> str | None:
    """Return why an acknowledgement rejects the message; None: it accepts it.

    A rejection is explicit: a first argument of `false`, the word "error", or an object with `ok` or `success` false,
    `status` "error", or a non-empty `error`. Everything else accepts, also an empty acknowledgement.
    """
    first = arguments[0] if arguments else None
    if first is False:
        return _reason(arguments[1:], "the server answered false")
    if first == "error":
        return _reason(arguments[1:], "the server answered error")
    if not isinstance(first, dict):
        return None
    if first.get("error"):
        return _reason([first["error"]], "error")
    if first.get("ok") is False or first.get("success") is False or first.get("status") == "error":
        return _reason([first.get("message") or first.get("reason")], "the server answered not ok")
    return None


def _reason(details: Sequence[Any], default: str) -> str:
    """The server's own words, if it sent any."""
    detail = details[0] if details else None
    if isinstance(detail, dict):
        detail = detail.get("message") or detail.get("reason") or detail.get("code")
    return words_of(detail) if detail else default
