"""Shows who waits behind what."""

from math import inf
from typing import Any

from worker.core.claim_rules import ClaimRules, HeldBy, WaitingLine
from worker.stores.postgres.database import Connection
from worker.stores.postgres.limits import Names, Usage, read_usage
from worker.stores.postgres.texts import from_database, optional_from_database, to_database

_MOST_LINES = 20_000

_LINES = f"""
    SELECT priority, organization, user_id, kind, submitter, sum(queued)::bigint AS queued, sum(due)::bigint AS due,
        sum(running)::bigint AS running,
        min((SELECT min(turn) FROM waiting_organizations AS waiting WHERE waiting.rank = -priority
            AND waiting.organization = coalesce('=' || lines.organization, ''))) AS turn,
        min((SELECT min(turn) FROM waiting_users AS waiting WHERE waiting.rank = -priority
            AND waiting.organization = coalesce('=' || lines.organization, '')
            AND waiting.user_id = '=' || lines.user_id)) AS user_turn, min(ticket) AS ticket
    FROM (
        SELECT -rank AS priority, nullif(substr(organization, 2), '') AS organization, substr(user_id, 2) AS user_id,
            kind, submitter, count(*) AS queued, count(*) AS due, 0 AS running, min(ticket) AS ticket
        FROM ready GROUP BY rank, organization, user_id, kind, submitter
        UNION ALL
        SELECT priority, organization, user_id, kind, submitter, count(*), 0, 0, NULL FROM jobs
        WHERE wait_at IS NOT NULL GROUP BY priority, organization, user_id, kind, submitter
        UNION ALL
        SELECT priority, organization, user_id, kind, submitter, 0, 0, count(*), NULL FROM jobs
        WHERE seq IN (SELECT convert_from(payload, 'UTF8')::bigint FROM pgqueuer WHERE status = 'picked')
        GROUP BY priority, organization, user_id, kind, submitter
    ) AS lines
    GROUP BY priority, organization, user_id, kind, submitter HAVING sum(queued) > 0
    ORDER BY sum(queued) DESC LIMIT {_MOST_LINES}
"""


async def waiting_lines(connection: Connection, rules: ClaimRules, limit: int, now: float) -> list[WaitingLine]:
    """Return lines with queued jobs: in the order of their turns, then those that have none, the longest first."""
    rows = await connection.fetch(_LINES)
    usage = await read_usage(connection, rules, now)
    paused = {row["kind"] for row in await connection.fetch("SELECT kind FROM pauses")}
    kinds = None if rules.kinds is None else set(map(to_database, rules.kinds))
    in_turn: list[WaitingLine] = []
    others: list[WaitingLine] = []
    for row in _in_order(rows):
        held_by = _held_by(row, usage, kinds, paused)
        if row["due"] and held_by is None:
            in_turn.append(_line(row, len(in_turn), None))
        else:
            others.append(_line(row, None, held_by))
    others.sort(key=lambda line: -line.queued)
    return [*in_turn, *others][: max(limit, 0)]


def _in_order(rows: list[Any]) -> list[Any]:
    """Return the lines in the order in which claims come to them: one user of each organisation after the other."""
    rounds: dict[tuple[int, str | None], dict[str, int]] = {}
    placed = []
    # An owner that no claim has seen yet has no turn: it will be the last.
    for row in sorted(rows, key=lambda row: (row["user_turn"] or inf, row["ticket"] or 0)):
        users = rounds.setdefault((row["priority"], row["organization"]), {})
        turn = users.setdefault(row["user_id"], len(users)) if row["due"] else 0
        placed.append((-row["priority"], turn, row["turn"] or inf, row["organization"] or "", row["ticket"] or 0, row))
    return [one[-1] for one in sorted(placed, key=lambda one: one[:-1])]


def _held_by(row: Any, usage: Usage, kinds: set[str] | None, paused: set[str]) -> HeldBy | None:
    if kinds is not None and row["kind"] not in kinds:
        return "unserved"
    if row["kind"] in paused:
        return "paused"
    names: Names = (row["kind"], row["user_id"], row["organization"], row["submitter"])
    full = usage.full(names)
    return None if full is None else full[1]


def _line(row: Any, position: int | None, held_by: HeldBy | None) -> WaitingLine:
    return WaitingLine(
        priority=row["priority"],
        organization=optional_from_database(row["organization"]),
        user_id=from_database(row["user_id"]),
        kind=from_database(row["kind"]),
        submitter=optional_from_database(row["submitter"]),
        queued=row["queued"],
        running=row["running"],
        position=position,
        held_by=held_by,
    )
