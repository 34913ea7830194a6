"""WebSocket frames as either end reads them (RFC 6455, 5 to 8). Pure bytes: knows no socket and no clock.

The size of a frame is checked at its header, before its payload is kept.
"""

import codecs
from typing import Final

from worker.net.close_codes import INVALID_DATA, NO_STATUS, PROTOCOL_ERROR, TOO_BIG
from worker.net.frame_mask import apply_mask

CONTINUATION: Final = 0x0
"""Returned for a fragment that does not complete its message."""
TEXT: Final = 0x1
BINARY: Final = 0x2
CLOSE: Final = 0x8
PING: Final = 0x9
PONG: Final = 0xA

_FIN: Final = 0x80
_RESERVED_BITS: Final = 0x70
_MASKED: Final = 0x80
_CONTROL: Final = 0x8
_OPCODES: Final = frozenset({CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG})
_WHOLE_MESSAGES: Final = frozenset({_FIN | TEXT, _FIN | BINARY})
"""The first bytes of most frames: messages of a single one."""
_MAX_CONTROL_BYTES: Final = 125
_CLOSE_CODES: Final = frozenset({1000, 1001, 1002, 1003, *range(1007, 1015), *range(3000, 5000)})
"""The codes that an endpoint may send (7.4); the others are reserved or only for reporting."""


class FrameError(Exception):
    """The peer broke the protocol, or its message is too big; `code` is the close code."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


class FrameReader:
    """Parses the bytes of one peer into messages and control frames."""

    __slots__ = (
        "_buffer",
        "_decoder",
        "_fragments",
        "_mask_bit",
        "_mask_bytes",
        "_message_bytes",
        "_opcode",
        "max_message_bytes",
    )

    def __init__(self, max_message_bytes: int, *, masked: bool = True) -> None:
        """`masked`: the peer is a client, whose frames must be masked; a server's must not be (5.1)."""
        self.max_message_bytes = max_message_bytes
        """The most bytes of one message; may be changed between two calls of `next`."""
        self._mask_bit, self._mask_bytes = (_MASKED, 4) if masked else (0, 0)
        self._buffer = bytearray()
        self._opcode = CONTINUATION
        """The type of the message whose fragments are being read; CONTINUATION: none is."""
        self._fragments: list[bytes] = []
        self._message_bytes = 0
        self._decoder: codecs.IncrementalDecoder | None = None

    @property
    def buffered_bytes(self) -> int:
        """Bytes that were fed and not yet returned."""
        return len(self._buffer)

    @property
    def held_bytes(self) -> int:
        """Bytes of messages and frames that are not complete, once `next` has returned None."""
        return len(self._buffer) + self._message_bytes

    @property
    def is_incomplete(self) -> bool:
        """Whether a message or a frame has begun and not ended, once `next` has returned None."""
        return bool(self._buffer) or self._opcode != CONTINUATION

    def feed(self, data: bytes) -> None:
        """Add bytes that came from the peer."""
        self._buffer += data

    def discard(self) -> None:
        """Drop everything that was fed."""
        self._buffer.clear()
        self._fragments.clear()
        self._message_bytes = 0
        self._opcode = CONTINUATION

    def next(self) -> tuple[int, bytes] | None:
        """Return the opcode and the payload of the next complete message, control frame or fragment.

        None: more bytes are needed. FrameError: the connection must be closed; nothing more may be read.
        """
        buffer = self._buffer
        if len(buffer) < 2:
            return None
        first, second = buffer[0], buffer[1]
        size, at = second & 0x7F, 2
        if size > _MAX_CONTROL_BYTES:
            at = 4 if size == 126 else 10
            if (len(buffer) < at or first & _CONTROL) and not self._has_size(at):
                return None
            size = int.from_bytes(buffer[2:at], "big")
            if size < 126 or at == 10:
                _check_size(size, at)
        at += self._mask_bytes
        end = at + size
        if len(buffer) < end or first not in _WHOLE_MESSAGES or self._opcode or second & _MASKED != self._mask_bit:
            self._check_header(first, second, size)
            if len(buffer) < end:
                return None
        elif size > self.max_message_bytes:
            raise FrameError(TOO_BIG, "too big")
        payload = _unmasked(buffer, at, end) if self._mask_bytes else bytes(buffer[at:end])
        del buffer[:end]
        opcode = first & 0x0F
        if first in _WHOLE_MESSAGES:
            if opcode == TEXT and not payload.isascii():
                _check_utf8(payload)
            return opcode, payload
        is_control = opcode & _CONTROL
        return (opcode, payload) if is_control else self._data_frame(opcode, payload, final=bool(first & _FIN))

    def _has_size(self, end: int) -> bool:
        """Return whether the bytes up to the end of the extended size have come; check the header until then."""
        first, second = self._buffer[0], self._buffer[1]
        if first & _CONTROL:
            self._check_header(first, second, 0)
            raise FrameError(PROTOCOL_ERROR, "a control frame of more than 125 bytes")
        if len(self._buffer) < end:
            self._check_header(first, second, 0)
            return False
        return True

    def _check_header(self, first: int, second: int, size: int) -> None:
        opcode = first & 0x0F
        if first & _RESERVED_BITS:
            raise FrameError(PROTOCOL_ERROR, "reserved bits without an extension")
        if opcode not in _OPCODES:
            raise FrameError(PROTOCOL_ERROR, "a reserved opcode")
        if second & _MASKED != self._mask_bit:
            words = "a frame that is not masked" if self._mask_bit else "a masked frame"
            raise FrameError(PROTOCOL_ERROR, words)
        if opcode & _CONTROL:
            if not first & _FIN:
                raise FrameError(PROTOCOL_ERROR, "a fragmented control frame")
            return
        if (opcode == CONTINUATION) != (self._opcode != CONTINUATION):
            raise FrameError(PROTOCOL_ERROR, "a fragment out of order")
        if self._message_bytes + size > self.max_message_bytes:
            raise FrameError(TOO_BIG, "too big")

    def _data_frame(self, opcode: int, payload: bytes, *, final: bool) -> tuple[int, bytes]:
        if opcode != CONTINUATION:
            self._opcode = opcode
            self._decoder = codecs.getincrementaldecoder("utf-8")() if opcode == TEXT else None
        if self._decoder is not None:
            _check_utf8(payload, self._decoder, final=final)
        self._message_bytes += len(payload)
        if payload:
            self._fragments.append(payload)
        if not final:
            return CONTINUATION, payload
        opcode, message = self._opcode, b"".join(self._fragments)
        self._opcode, self._message_bytes, self._decoder = CONTINUATION, 0, None
        self._fragments.clear()
        return opcode, message


def close_code_of(payload: bytes) -> int:
    """Return the code of a close frame; NO_STATUS if it has none. FrameError: the payload is not valid."""
    if not payload:
        return NO_STATUS
    code = int.from_bytes(payload[:2], "big")
    if len(payload) < 2 or code not in _CLOSE_CODES:
        raise FrameError(PROTOCOL_ERROR, "a close frame with a code that may not be sent")
    _check_utf8(payload[2:])
    return code


def _check_size(size: int, end: int) -> None:
    if size >> 63:
        raise FrameError(PROTOCOL_ERROR, "a length with its highest bit set")
    if size < 126 or (end == 10 and size < 65536):
        raise FrameError(PROTOCOL_ERROR, "a length that is not encoded in the fewest bytes")


def _unmasked(buffer: bytearray, at: int, end: int) -> bytes:
    """Return the payload at `at`, which follows its mask."""
    payload = buffer[at:end]
    if payload:
        apply_mask(bytes(buffer[at - 4 : at]), payload)
    return bytes(payload)


def _check_utf8(payload: bytes, decoder: codecs.IncrementalDecoder | None = None, *, final: bool = True) -> None:
    try:
        if decoder is None:
            payload.decode()
        else:
            decoder.decode(payload, final)
    except UnicodeDecodeError:
        raise FrameError(INVALID_DATA, "text that is not UTF-8") from None
