"""Versions 4 and 5 of the schema: who waits for a turn, as tables that cost a claim what it takes, not what waits.

Each change of `ready` leaves the names of its owners in `owner_changes`: a new row each, so that no transaction waits
for another. Only claims, of which one at a time goes on, read them, and keep the three tables of those that wait.
"""

_LOCK_READY = "LOCK TABLE ready IN ACCESS EXCLUSIVE MODE"
"""First of all: else a transaction that has read `ready` could wait to write it while this one waits for that one."""

_CREATE_TABLES = (
    # Owners of which a due job came or went. `xid` tells which rows a claim cannot have seen yet.
    """
    CREATE TABLE owner_changes (
        xid xid8 NOT NULL DEFAULT pg_current_xact_id(),
        rank integer NOT NULL,
        organization text NOT NULL,
        user_id text NOT NULL,
        kind text NOT NULL
    ) WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 2000)
    """,
    "CREATE INDEX owner_changes_xid ON owner_changes (xid)",
    # Keys begin with what is unique, and an index of turns serves only queries about turns (all are above 0): so there
    # is one index for each query, whatever the planner takes the tables to contain. The smallest turn is next. A turn
    # only grows, so what was served leaves dead entries in front of the first one in an index; `first` says where those
    # end, and a claim begins there.
    """
    CREATE TABLE waiting_kinds (
        rank integer NOT NULL,
        kind text NOT NULL,
        first bigint NOT NULL,
        PRIMARY KEY (rank, kind)
    ) WITH (fillfactor = 10)
    """,
    """
    CREATE TABLE waiting_organizations (
        rank integer NOT NULL,
        organization text NOT NULL,
        kind text NOT NULL,
        turn bigint NOT NULL,
        first bigint NOT NULL,
        PRIMARY KEY (organization, rank, kind)
    ) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 2000)
    """,
    "CREATE INDEX waiting_organizations_turn ON waiting_organizations (rank, kind, turn, organization) WHERE turn > 0",
    """
    CREATE TABLE waiting_users (
        rank integer NOT NULL,
        organization text NOT NULL,
        user_id text NOT NULL,
        kind text NOT NULL,
        turn bigint NOT NULL,
        PRIMARY KEY (user_id, organization, rank, kind)
    ) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 2000)
    """,
    "CREATE INDEX waiting_users_turn ON waiting_users (rank, organization, kind, turn, user_id) WHERE turn > 0",
    "CREATE INDEX ready_lines ON ready (rank, organization, user_id, kind, ticket)",
    "DROP INDEX ready_order",
)

# Statements in these functions always go by an index: a plan that was made for an empty table must not read a full one.
_BY_INDEX = "SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET search_path FROM CURRENT"

_CREATE_TRIGGERS = (
    """
    CREATE FUNCTION note_owner_changes() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
    BEGIN
        INSERT INTO owner_changes (rank, organization, user_id, kind)
        SELECT DISTINCT rank, organization, user_id, kind FROM changed;
        RETURN NULL;
    END
    $$
    """,
    """
    CREATE TRIGGER ready_came AFTER INSERT ON ready REFERENCING NEW TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION note_owner_changes()
    """,
    """
    CREATE TRIGGER ready_went AFTER DELETE ON ready REFERENCING OLD TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION note_owner_changes()
    """,
)

# Called by claims only. An owner that begins to wait is the last in turn; with a further kind it keeps the turn it has.
_FOLLOW = """
    CREATE FUNCTION {head} LANGUAGE plpgsql {by_index} AS $$
    DECLARE
        horizon CONSTANT xid8 := pg_snapshot_xmin(pg_current_snapshot());
        -- Ahead of the server: that is a copy from before, with changes that no claim there has read.
        from_xid CONSTANT xid8 := CASE WHEN seen::xid8 > horizon THEN '0' ELSE seen END;
        ranks integer[];
        organizations text[];
        kinds text[];{declare}
    BEGIN
        WITH changes AS (
            DELETE FROM owner_changes WHERE {which} RETURNING rank, organization, user_id, kind
        ), owners AS MATERIALIZED (
            SELECT changed.*, (
                SELECT ticket FROM ready WHERE ready.rank = changed.rank AND ready.organization = changed.organization
                    AND ready.user_id = changed.user_id AND ready.kind = changed.kind ORDER BY ticket LIMIT 1
            ) AS ticket
            FROM (SELECT DISTINCT rank, organization, user_id, kind FROM changes) AS changed
        ), gone AS (
            DELETE FROM waiting_users AS waiting USING owners
            WHERE owners.ticket IS NULL AND waiting.rank = owners.rank AND waiting.organization = owners.organization
                AND waiting.user_id = owners.user_id AND waiting.kind = owners.kind
            RETURNING waiting.rank, waiting.organization, waiting.kind
        ), fresh AS (
            SELECT rank, organization, user_id, kind, row_number() OVER (ORDER BY ticket) AS place FROM owners
            WHERE ticket IS NOT NULL AND NOT EXISTS (
                SELECT FROM waiting_users AS waiting WHERE waiting.rank = owners.rank
                    AND waiting.organization = owners.organization AND waiting.user_id = owners.user_id
                    AND waiting.kind = owners.kind)
        ), users AS (
            INSERT INTO waiting_users (rank, organization, user_id, kind, turn)
            SELECT rank, organization, user_id, kind, coalesce((
                SELECT min(turn) FROM waiting_users AS waiting WHERE waiting.rank = fresh.rank
                    AND waiting.organization = fresh.organization AND waiting.user_id = fresh.user_id
            ), (SELECT nextval('turn_numbers') << 20) + place)
            FROM fresh RETURNING rank, organization, kind, turn
        ), with_users AS (
            INSERT INTO waiting_organizations AS waiting (rank, organization, kind, turn, first)
            SELECT rank, organization, kind, coalesce((
                SELECT min(turn) FROM waiting_organizations AS other
                WHERE other.rank = users.rank AND other.organization = users.organization
            ), min(turn)), min(turn)
            FROM users GROUP BY rank, organization, kind
            ON CONFLICT (organization, rank, kind) DO UPDATE SET first = excluded.first
            WHERE waiting.first > excluded.first RETURNING rank, kind, turn
        ), with_organizations AS (
            INSERT INTO waiting_kinds AS waiting (rank, kind, first)
            SELECT rank, kind, min(turn) FROM with_users GROUP BY rank, kind
            ON CONFLICT (rank, kind) DO UPDATE SET first = excluded.first WHERE waiting.first > excluded.first
        )
        SELECT array_agg(rank), array_agg(organization), array_agg(kind){figures}
        FROM (SELECT DISTINCT rank, organization, kind FROM gone) AS emptied;
        IF ranks IS NOT NULL THEN
            DELETE FROM waiting_organizations AS waiting
            USING unnest(ranks, organizations, kinds) AS emptied(rank, organization, kind)
            WHERE waiting.rank = emptied.rank AND waiting.organization = emptied.organization
                AND waiting.kind = emptied.kind AND NOT EXISTS (
                    SELECT FROM waiting_users AS inside WHERE inside.rank = waiting.rank
                        AND inside.organization = waiting.organization AND inside.kind = waiting.kind
                        AND inside.turn > 0);
            DELETE FROM waiting_kinds AS waiting WHERE NOT EXISTS (
                SELECT FROM waiting_organizations AS inside
                WHERE inside.rank = waiting.rank AND inside.kind = waiting.kind AND inside.turn > 0);
        END IF;
        {answer}
    END
    $$
"""

_CREATE_FOLLOW = _FOLLOW.format(
    head="follow_owners(seen text) RETURNS text",
    by_index=_BY_INDEX,
    which="xid >= from_xid",
    declare="",
    figures=" INTO ranks, organizations, kinds",
    answer="RETURN horizon;",
)

# So that an intake of many new owners does not keep all claims waiting: the next ones go on at the first change that is
# left, which may be younger or older than the oldest running transaction.
_CREATE_FOLLOW_SOME = _FOLLOW.format(
    head="follow_some_owners(seen text, most integer, OUT next text, OUT more boolean)",
    by_index=_BY_INDEX,
    which="ctid = ANY(ARRAY(SELECT ctid FROM owner_changes WHERE xid >= from_xid ORDER BY xid LIMIT most))",
    declare="""
        read integer;
        left_over xid8;""",
    figures=""", (SELECT count(*) FROM changes)
            INTO ranks, organizations, kinds, read""",
    answer="""IF read = most THEN
            SELECT xid INTO left_over FROM owner_changes WHERE xid >= from_xid ORDER BY xid LIMIT 1;
        END IF;
        next := least(horizon, left_over);
        more := left_over IS NOT NULL;""",
)

# Users by the place at which a claim served them. Their organisation was served with the last of them.
_CREATE_TAKE = f"""
    CREATE FUNCTION take_turns(ranks integer[], organizations text[], users text[]) RETURNS void
    LANGUAGE plpgsql {_BY_INDEX} AS $$
    DECLARE
        number CONSTANT bigint := nextval('turn_numbers') << 20;
    BEGIN
        UPDATE waiting_users AS waiting SET turn = number + place
        FROM unnest(ranks, organizations, users) WITH ORDINALITY AS served(rank, organization, user_id, place)
        WHERE waiting.rank = served.rank AND waiting.organization = served.organization
            AND waiting.user_id = served.user_id;
        UPDATE waiting_organizations AS waiting SET turn = number + place, first = coalesce((
            SELECT turn FROM waiting_users AS inside WHERE inside.rank = waiting.rank
                AND inside.organization = waiting.organization AND inside.kind = waiting.kind AND inside.turn > 0
                AND inside.turn >= waiting.first ORDER BY turn LIMIT 1), first)
        FROM (
            SELECT rank, organization, max(place) AS place
            FROM unnest(ranks, organizations) WITH ORDINALITY AS one(rank, organization, place)
            GROUP BY rank, organization) AS served
        WHERE waiting.rank = served.rank AND waiting.organization = served.organization;
        UPDATE waiting_kinds AS waiting SET first = coalesce((
            SELECT turn FROM waiting_organizations AS inside WHERE inside.rank = waiting.rank
                AND inside.kind = waiting.kind AND inside.turn > 0 AND inside.turn >= waiting.first
            ORDER BY turn LIMIT 1), first)
        WHERE rank = ANY(ranks);
    END
    $$
"""

_NOTE_ALL = """
    INSERT INTO owner_changes (rank, organization, user_id, kind)
    SELECT DISTINCT rank, organization, user_id, kind FROM ready
"""

CREATE_TURNS = (_LOCK_READY, *_CREATE_TABLES, *_CREATE_TRIGGERS, _CREATE_FOLLOW, _CREATE_TAKE, _NOTE_ALL)

DROP_TURNS = (
    _LOCK_READY,
    "CREATE INDEX ready_order ON ready (rank, organization, user_id, ticket)",
    "DROP TRIGGER ready_came ON ready",
    "DROP TRIGGER ready_went ON ready",
    "DROP FUNCTION note_owner_changes",
    "DROP FUNCTION follow_owners",
    "DROP FUNCTION take_turns",
    "DROP INDEX ready_lines",
    "DROP TABLE owner_changes, waiting_kinds, waiting_organizations, waiting_users",
)

CREATE_FOLLOW_SOME = (_CREATE_FOLLOW_SOME,)

DROP_FOLLOW_SOME = ("DROP FUNCTION follow_some_owners",)

REBUILD = ("DELETE FROM waiting_kinds", "DELETE FROM waiting_organizations", "DELETE FROM waiting_users", _NOTE_ALL)
"""Statements that let all owners of due jobs begin to wait again, under the lock of claims."""
