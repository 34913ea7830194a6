"""Whose turn it is: within a priority organisations take turns, within an organisation its users, and of one user's
jobs the oldest comes first.

Who begins to wait or was served is the last. Claims of all stores take a lock for this, so that turns are counted over
all of them; a claim takes many jobs at once, and holds the lock until its commit.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from worker.core.claim_rules import ClaimRules
from worker.stores.postgres.limits import Names, Usage
from worker.stores.postgres.texts import to_database
from worker.stores.postgres.transaction import WriteTransaction

LOCK = """
    SELECT pg_advisory_xact_lock(hashtextextended(current_schema() || '.claims', 0)),
        set_config('enable_seqscan', 'off', true), set_config('enable_hashjoin', 'off', true),
        set_config('enable_mergejoin', 'off', true), set_config('plan_cache_mode', 'force_generic_plan', true)
"""
"""One claim at a time. Its statements go by indexes: a plan that was made for empty tables must not read full ones. So
one plan serves all claims; to make another for each, as the server would, takes longer than to carry it out."""

MOST_OWNERS = 10_000
"""Changes of owners that a claim reads at a time: 20 to 30 µs for each owner that begins to wait, 0.2 to 0.3 s in all.
Fewer would let those that were served in between have a second turn before the others have their first."""

_FOLLOW = "SELECT next, more FROM follow_some_owners($1, $2)"

# The users of an organisation, as `waiting` has it, of whom a job may go. `(SELECT true ... LIMIT 1)` stays a probe of
# an index, EXISTS may not.
_MEMBERS = """
    FROM waiting_users AS member
    WHERE member.rank = waiting.rank AND member.organization = waiting.organization
        AND member.kind = waiting.kind AND member.turn > 0 AND member.turn >= waiting.first
        AND substr(user_id, 2) <> ALL($4::text[]) AND (
            SELECT true FROM ready
            WHERE ready.rank = member.rank AND ready.organization = member.organization
                AND ready.user_id = member.user_id AND ready.kind = member.kind
                AND (submitter IS NULL OR submitter <> ALL($6::text[])) LIMIT 1)
"""

# Of the highest priority with jobs that may go: as many organisations as jobs are wanted, in the order of their turns,
# of each as many users as it may have turns, of each user as many jobs as it may have. `known` is the number of rounds
# of an organisation that are surely complete.
CANDIDATES = f"""
    WITH kinds AS MATERIALIZED (
        SELECT rank, kind, first FROM waiting_kinds
        WHERE ($2::text[] IS NULL OR kind = ANY($2::text[])) AND kind <> ALL($3::text[])
    ), organizations AS MATERIALIZED (
        SELECT kinds.rank, inside.organization, min(inside.turn) AS turn
        FROM kinds CROSS JOIN LATERAL (
            SELECT organization, turn FROM waiting_organizations AS waiting
            WHERE waiting.rank = kinds.rank AND waiting.kind = kinds.kind AND waiting.turn > 0
                AND waiting.turn >= kinds.first AND substr(organization, 2) <> ALL($5::text[]) AND (
                    SELECT true {_MEMBERS} LIMIT 1)
            ORDER BY turn, organization LIMIT $1
        ) AS inside
        GROUP BY kinds.rank, inside.organization ORDER BY kinds.rank, turn, inside.organization LIMIT $1
    ), chosen AS MATERIALIZED (
        SELECT *, ceil($1::float8 / count(*) OVER ())::bigint AS most FROM organizations
        WHERE rank = (SELECT min(rank) FROM organizations)
    ), users AS MATERIALIZED (
        SELECT *, ceil(most::float8 / count(*) OVER (PARTITION BY organization))::bigint AS most_jobs FROM (
            SELECT chosen.*, inside.user_id, min(inside.turn) AS user_turn,
                row_number() OVER (PARTITION BY chosen.organization ORDER BY min(inside.turn), inside.user_id) AS number
            FROM chosen JOIN kinds ON kinds.rank = chosen.rank
            JOIN waiting_organizations AS waiting ON waiting.rank = chosen.rank
                AND waiting.organization = chosen.organization AND waiting.kind = kinds.kind
            CROSS JOIN LATERAL (
                SELECT user_id, turn {_MEMBERS}
                ORDER BY turn, user_id LIMIT chosen.most
            ) AS inside
            GROUP BY chosen.rank, chosen.organization, chosen.turn, chosen.most, inside.user_id
        ) AS numbered WHERE number <= most
    ), heads AS (
        SELECT users.*, due.*,
            row_number() OVER (PARTITION BY users.organization, users.user_id ORDER BY due.ticket) AS place
        FROM users JOIN kinds ON kinds.rank = users.rank CROSS JOIN LATERAL (
            SELECT seq, ticket, kind, submitter FROM ready
            WHERE ready.rank = users.rank AND ready.organization = users.organization
                AND ready.user_id = users.user_id AND ready.kind = kinds.kind
                AND (submitter IS NULL OR submitter <> ALL($6::text[]))
            ORDER BY ticket LIMIT users.most_jobs
        ) AS due
    ), rounds AS (
        SELECT heads.*, row_number() OVER (PARTITION BY organization ORDER BY place, user_turn, user_id) AS round,
            count(*) OVER (PARTITION BY organization) AS known,
            bool_or(place = most_jobs OR number = most) OVER (PARTITION BY organization) AS more
        FROM heads WHERE place <= most_jobs
    )
    SELECT seq, rounds.ticket, rounds.rank, rounds.organization, rounds.user_id, rounds.kind, rounds.submitter,
        more OR (SELECT count(DISTINCT rank) > 1 FROM organizations) AS more, jobs.suspect
    FROM rounds JOIN jobs USING (seq)
    WHERE round <= (SELECT min(CASE WHEN more THEN known ELSE $1 END) FROM rounds)
    ORDER BY round, turn, rounds.organization LIMIT $1
"""

_TAKE = "SELECT take_turns($1::int[], $2::text[], $3::text[])"

_STARTED = """
    INSERT INTO starts (at, kind, user_id, organization, submitter)
    SELECT $1, * FROM unnest($2::text[], $3::text[], $4::text[], $5::text[])
"""


@dataclass(frozen=True, slots=True)
class Chosen:
    """A due job whose turn it is."""

    seq: int
    ticket: int
    rank: int
    organization: str
    user_id: str
    names: Names
    suspect: bool


@dataclass(slots=True)
class Excluded:
    """What may not be claimed, as the database has it."""

    kinds: list[str] | None
    """The kinds that are run here; None: all."""
    names: dict[str, list[str]] = field(default_factory=lambda: {"kind": [], "user": [], "organization": [], "key": []})

    is_held_by_limits: bool = False

    @classmethod
    def of(cls, rules: ClaimRules, paused: Sequence[str], usage: Usage) -> "Excluded":
        excluded = cls(None if rules.kinds is None else sorted(map(to_database, rules.kinds)))
        excluded.names["kind"] += paused
        for scope, name in usage.names_at_their_limit():
            excluded.names[scope].append(name)
        return excluded


async def follow_owners(transaction: WriteTransaction) -> bool:
    """Let the owners of jobs that became due since the last claim wait for a turn, and those of none no longer.

    Returns whether changes are left, which the next call reads.
    """
    counts = transaction.counts
    counts.owners_seen, more = await transaction.connection.fetchrow(_FOLLOW, counts.owners_seen, MOST_OWNERS)
    return bool(more)


async def candidates(
    transaction: WriteTransaction, excluded: Excluded, usage: Usage, limit: int
) -> tuple[list[Chosen], bool]:
    """Return up to `limit` jobs in the order of turns that no limit forbids, and whether there may be more.

    What a limit forbids is added to `excluded`.
    """
    names = excluded.names
    rows = await transaction.connection.fetch(
        CANDIDATES, limit, excluded.kinds, names["kind"], names["user"], names["organization"], names["key"]
    )
    chosen: list[Chosen] = []
    passed_over = False
    for row in rows:
        one = _chosen(row)
        full = usage.full(one.names) if usage.rules.limits else None
        if full is not None:
            (scope, name), _ = full
            names[scope].append(name)
            excluded.is_held_by_limits = True
            passed_over = True
            continue
        usage.start(one.names)
        chosen.append(one)
    return chosen, passed_over or any(row["more"] for row in rows)


def _chosen(row: Any) -> Chosen:
    organization, user = row["organization"], row["user_id"]
    names = (row["kind"], user[1:], organization[1:] or None, row["submitter"])
    return Chosen(row["seq"], row["ticket"], row["rank"], organization, user, names, row["suspect"])


async def note_turns(transaction: WriteTransaction, chosen: Sequence[Chosen], usage: Usage) -> None:
    """Record that these had their turn, in this order."""
    served: dict[tuple[int, str, str], None] = {}
    for one in chosen:
        owner = (one.rank, one.organization, one.user_id)
        served.pop(owner, None)
        served[owner] = None  # the last one in this order waits longest for its next turn
    await transaction.connection.execute(_TAKE, *zip(*served, strict=True))
    if usage.has_rates:
        kinds, user_ids, named, submitters = zip(*(one.names for one in chosen), strict=True)
        await transaction.connection.execute(_STARTED, usage.now, kinds, user_ids, named, submitters)
