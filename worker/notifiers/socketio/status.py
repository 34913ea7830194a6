"""The link as operators see it: figures, and a sentence in English and in Thai."""

from collections.abc import Mapping
from dataclasses import dataclass

from worker.notifiers.socketio.state import Link, State


@dataclass(frozen=True, slots=True)
class LinkStatus:
    """A snapshot for health pages. The figures of the outbox come from the store."""

    state: State
    mode: str
    total_connections: int
    total_messages: int
    """Messages confirmed since the start."""
    reconnect_attempts: int
    last_pong: float | None
    """Wall clock of the last heartbeat the server answered or sent."""
    last_close_code: int | None
    connected_since: float | None
    """Wall clock; None while there is no session."""
    in_flight: int
    ack_ms_p50: float | None
    """Milliseconds from sending to confirmation, over the last thousand messages."""
    ack_ms_p99: float | None
    status_en: str
    status_th: str


_MODES: Mapping[str, tuple[str, str]] = {
    "ack": ("the server acknowledges each notification", "เซิร์ฟเวอร์ยืนยันการรับทุกข้อความ"),
    "fence": (
        "the server does not acknowledge; receipt is inferred from its pongs",
        "เซิร์ฟเวอร์ไม่ตอบยืนยัน จึงอนุมานการรับจากสัญญาณ pong",
    ),
    "heartbeat": ("receipt is inferred from the server's heartbeat", "อนุมานการรับจากสัญญาณตรวจสอบการเชื่อมต่อของเซิร์ฟเวอร์"),
    "none": ("receipt is not checked", "ไม่มีการตรวจสอบการรับ"),
}


def describe(link: Link, suspects: int = 0) -> tuple[str, str]:
    """Return one sentence on the state of the link, in English and in Thai.

    `suspects` notifications could not be confirmed and are sent alone.
    """
    english, thai = _state_of(link)
    if suspects:
        english = f"{english[:-1]}; sent alone because they could not be confirmed: {suspects}."
        thai = f"{thai} การแจ้งเตือนที่ยืนยันไม่ได้และกำลังส่งแยก: {suspects}"
    return english, thai


def _state_of(link: Link) -> tuple[str, str]:
    reason = f" ({link.last_reason})" if link.last_reason else ""
    progress = f"{link.attempt}/{link.attempts_allowed}" if link.attempts_allowed else f"{link.attempt}"
    match link.state:
        case State.CONNECTED:
            english, thai = _MODES[link.mode]
            return f"Connected to {link.url}; {english}.", f"เชื่อมต่อกับ {link.url} แล้ว {thai}"
        case State.CONNECTING:
            return (
                f"Connecting to {link.url}{reason}; jobs go on, notifications wait.",
                f"กำลังเชื่อมต่อกับ {link.url}{reason} งานยังดำเนินต่อ การแจ้งเตือนรออยู่ในคิว",
            )
        case State.RECONNECTING:
            return (
                f"Connection lost{reason}; reconnecting, attempt {progress}; jobs go on, notifications wait.",
                f"การเชื่อมต่อขาดหาย{reason} กำลังเชื่อมต่อใหม่ ครั้งที่ {progress} งานยังดำเนินต่อ การแจ้งเตือนรออยู่ในคิว",
            )
        case State.FAILED:
            return (
                f"{link.url} cannot be reached{reason}; the next round of attempts begins in {link.retry_in:g} s; "
                "jobs go on, notifications wait.",
                f"ติดต่อ {link.url} ไม่ได้{reason} จะเริ่มลองใหม่ใน {link.retry_in:g} วินาที งานยังดำเนินต่อ การแจ้งเตือนรออยู่ในคิว",
            )
        case State.DISCONNECTED:
            return (
                f"Disconnected{reason}; notifications wait until a reconnect is requested.",
                f"ตัดการเชื่อมต่อแล้ว{reason} การแจ้งเตือนรอจนกว่าจะสั่งเชื่อมต่อใหม่",
            )
