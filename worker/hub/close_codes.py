"""The close codes that the hub sends or reports (RFC 6455, 7.4); 4000 and up are the hub's own. Public: docs/hub.md."""

from typing import Final

from worker.net.close_codes import (
    ABNORMAL,
    GOING_AWAY,
    INTERNAL_ERROR,
    INVALID_DATA,
    NO_STATUS,
    NORMAL,
    PROTOCOL_ERROR,
    TOO_BIG,
)

__all__ = [
    "ABNORMAL",
    "FORBIDDEN",
    "GOING_AWAY",
    "INTERNAL_ERROR",
    "INVALID_DATA",
    "NORMAL",
    "NO_STATUS",
    "PROTOCOL_ERROR",
    "SLOW_CONSUMER",
    "TOO_BIG",
    "TOO_MANY_CONNECTIONS",
    "TOO_MANY_MESSAGES",
    "UNAUTHORIZED",
]

UNAUTHORIZED: Final = 4401
FORBIDDEN: Final = 4403
SLOW_CONSUMER: Final = 4408
TOO_MANY_CONNECTIONS: Final = 4409
TOO_MANY_MESSAGES: Final = 4429
