"""What people are shown of the link: figures, and a sentence in English and in Thai."""

from collections.abc import Mapping
from dataclasses import dataclass

from worker.orgsocket.link import Link, State


@dataclass(frozen=True, slots=True)
class LinkFigures:
    """A snapshot for health pages. The outbox's own figures come from the store."""

    state: State
    mode: str
    total_connections: int
    total_messages: int
    """Messages proven received since the start."""
    reconnect_attempts: int
    last_pong: float | None
    """Wall clock of the last heartbeat the server answered or sent."""
    last_close_code: int | None
    connected_since: float | None
    """Wall clock; None while there is no session."""
    in_flight: int
    ack_ms_p50: float | None
    """Milliseconds from sending to proof, over the last thousand messages."""
    ack_ms_p99: float | None
    status_en: str
    status_th: str


_MODES: Mapping[str, tuple[str, str]] = {
    "ack": ("the server acknowledges each notification", "เซิร์ฟเวอร์ยืนยันการรับทุกข้อความ"),
    "fence": (
        "the server does not acknowledge; receipt is inferred from its pongs",
        "เซิร์ฟเวอร์ไม่ตอบยืนยัน จึงอนุมานการรับจากสัญญาณ pong",
    ),
    "heartbeat": ("receipt is inferred from the server's heartbeat", "อนุมานการรับจากสัญญาณชีพของเซิร์ฟเวอร์"),
    "none": ("receipt is not checked", "ไม่มีการตรวจสอบการรับ"),
}


def status(link: Link) -> tuple[str, str]:
    """One sentence on where the link stands, in English and in Thai."""
    why = f" ({link.last_reason})" if link.last_reason else ""
    tally = f"{link.attempt}/{link.attempts_allowed}" if link.attempts_allowed else f"{link.attempt}"
    match link.state:
        case State.CONNECTED:
            english, thai = _MODES[link.mode]
            return f"Connected to {link.url}; {english}.", f"เชื่อมต่อกับ {link.url} แล้ว {thai}"
        case State.CONNECTING:
            return (
                f"Connecting to {link.url}{why}; jobs go on, notifications wait.",
                f"กำลังเชื่อมต่อกับ {link.url}{why} งานยังดำเนินต่อ การแจ้งเตือนรออยู่ในคิว",
            )
        case State.RECONNECTING:
            return (
                f"Connection lost{why}; reconnecting, attempt {tally}; jobs go on, notifications wait.",
                f"การเชื่อมต่อขาดหาย{why} กำลังเชื่อมต่อใหม่ ครั้งที่ {tally} งานยังดำเนินต่อ การแจ้งเตือนรออยู่ในคิว",
            )
        case State.FAILED:
            return (
                f"{link.url} cannot be reached{why}; the next round of attempts begins in {link.retry_in:g} s; "
                "jobs go on, notifications wait.",
                f"ติดต่อ {link.url} ไม่ได้{why} จะเริ่มลองใหม่ใน {link.retry_in:g} วินาที งานยังดำเนินต่อ การแจ้งเตือนรออยู่ในคิว",
            )
        case State.DISCONNECTED:
            return (
                f"Disconnected{why}; notifications wait until somebody reconnects.",
                f"ตัดการเชื่อมต่อแล้ว{why} การแจ้งเตือนรอจนกว่าจะสั่งเชื่อมต่อใหม่",
            )
