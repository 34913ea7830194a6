"""Close codes of WebSocket (RFC 6455, 7.4.1). The hub's own are in `worker/hub/close_codes.py`."""

from typing import Final

NORMAL: Final = 1000
GOING_AWAY: Final = 1001
PROTOCOL_ERROR: Final = 1002
NO_STATUS: Final = 1005
"""Only reported: the close frame had no code."""
ABNORMAL: Final = 1006
"""Only reported: the connection was lost without a close frame."""
INVALID_DATA: Final = 1007
"""A text message is not UTF-8."""
TOO_BIG: Final = 1009
INTERNAL_ERROR: Final = 1011
