"""What clients have read: they report it, or answer a ping that was sent after the message."""

from collections.abc import Iterable
from typing import Any

from worker.hub.client import Client
from worker.hub.errors import MalformedPacket
from worker.hub.inbox import Inbox, ResumePoint


def note_sent(seq: int, clients: Iterable[Client]) -> None:
    """Note that these clients were sent the messages of their user up to this number."""
    for client in clients:
        client.last_sent_seq = seq
        request_confirmation(client)


def request_confirmation(client: Client) -> None:
    """Ping the client to learn that it has read what it was sent, one ping at a time."""
    if client.send_ping is not None and not client.ping_pending and client.last_sent_seq > client.last_read_seq:
        client.ping_pending = True
        client.send_ping()


def reported_seq(client: Client, data: Any) -> int:
    """Return the number up to which the client reports to have read: {seq}. MalformedPacket: it was not sent that."""
    seq = data.get("seq") if isinstance(data, dict) else None
    if not isinstance(seq, int) or isinstance(seq, bool) or not 0 <= seq <= client.last_sent_seq:
        raise MalformedPacket("malformed: seq is not a number that was sent to this client")
    return seq


def mark_read(inbox: Inbox, client: Client, seq: int) -> bool:
    """Move the client's read mark forward; return False if there is nothing to move."""
    user = client.identity.user
    if user is None or not client.last_read_seq < seq <= client.last_sent_seq:
        return False
    client.last_read_seq = seq
    inbox.mark_read(user, ResumePoint(client.epoch, seq))
    return True
