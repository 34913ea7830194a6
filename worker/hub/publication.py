"""One publication of the shared inbox: what a hub tells all others in one message. Pure bytes."""

from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Told:
    """One message of a publication."""

    user: str
    seq: int
    """0: volatile; -1: `user` is a revoked token's id."""
    epoch: str
    body: bytes


def split(publication: bytes) -> Iterator[Told]:
    """The messages of one publication: `user-size seq epoch body-size\\n`, the user, the body, and so on."""
    at = 0
    while at < len(publication):
        end = publication.index(b"\n", at)
        user_size, seq, epoch, body_size = publication[at:end].split(b" ")
        body_at = end + 1 + int(user_size)
        at = body_at + int(body_size)
        yield Told(publication[end + 1 : body_at].decode(), int(seq), epoch.decode(), publication[body_at:at])
