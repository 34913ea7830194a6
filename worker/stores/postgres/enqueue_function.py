"""The SQL function with which programs in other languages submit a job in a transaction of their own."""

from worker.stores.postgres.budget import ROW_BYTES

_FUNCTION = f"""
    {{create}} FUNCTION insignia_enqueue(
        task_type text, user_id text, payload jsonb DEFAULT '{{{{}}}}', run_at timestamptz DEFAULT NULL,
        key text DEFAULT NULL, priority integer DEFAULT 0, max_attempts integer DEFAULT 3
    ) RETURNS text LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
    #variable_conflict use_column
    DECLARE
        now_at CONSTANT float8 := extract(epoch FROM clock_timestamp());
        due_at CONSTANT float8 := coalesce(extract(epoch FROM insignia_enqueue.run_at), now_at);
        is_due CONSTANT boolean := due_at <= now_at;
        random CONSTANT text := replace(gen_random_uuid()::text, '-', '');
        time_part CONSTANT text := lpad(to_hex(floor(now_at * 1000)::bigint), 12, '0');
        -- RFC 9562, version 7: the time in milliseconds, then 74 random bits.
        new_id CONSTANT text := substr(time_part, 1, 8) || '-' || substr(time_part, 9, 4)
            || '-7' || substr(random, 1, 3) || '-'
            || substr('89ab', 1 + get_byte(decode(substr(random, 4, 2), 'hex'), 0) % 4, 1)
            || substr(random, 6, 3) || '-' || substr(random, 18, 12);
        body CONSTANT text := insignia_enqueue.payload::text;
        size CONSTANT bigint := {ROW_BYTES} + octet_length(body);
        organization CONSTANT text := CASE jsonb_typeof(insignia_enqueue.payload -> 'organization')
            WHEN 'string' THEN insignia_enqueue.payload ->> 'organization' END;
        scoped_key CONSTANT text := CASE WHEN insignia_enqueue.key IS NOT NULL THEN encode(sha256(convert_to(
            json_build_array('sql', task_type, insignia_enqueue.user_id, insignia_enqueue.key)::text, 'UTF8')), 'hex')
            END;
        earlier record;
        place bigint;
        new_ticket bigint;
    BEGIN
{{checks}}
        INSERT INTO jobs (id, kind, user_id, payload, max_attempts, run_at, created_at, key, priority, organization,
            wait_at, bytes)
        VALUES (new_id, task_type, insignia_enqueue.user_id, body, insignia_enqueue.max_attempts, due_at, now_at,
            scoped_key, insignia_enqueue.priority, organization, CASE WHEN is_due THEN NULL ELSE due_at END, size)
        ON CONFLICT (key) WHERE key IS NOT NULL DO NOTHING RETURNING seq INTO place;
        IF place IS NULL THEN
            SELECT id, jobs.payload INTO earlier FROM jobs WHERE jobs.key = scoped_key;
            IF earlier.payload::jsonb = insignia_enqueue.payload THEN
                RETURN earlier.id;
            END IF;
            RAISE EXCEPTION 'the key % is taken by job %, whose payload differs', insignia_enqueue.key, earlier.id
                USING ERRCODE = '23505';
        END IF;
        IF is_due THEN
            INSERT INTO pgqueuer (id, priority, entrypoint, payload, status, execute_after)
            VALUES (ticket_of(due_at, place), insignia_enqueue.priority, task_type, convert_to(place::text, 'UTF8'),
                'queued', 'epoch')
            ON CONFLICT (id) DO NOTHING RETURNING id INTO new_ticket;
            IF new_ticket IS NULL THEN
                UPDATE jobs SET wait_at = '-infinity' WHERE seq = place;
            ELSE
                INSERT INTO ready (seq, rank, organization, user_id, ticket, kind)
                VALUES (place, -insignia_enqueue.priority, coalesce('=' || organization, ''),
                    '=' || insignia_enqueue.user_id, new_ticket, task_type);
            END IF;
        END IF;
        -- A row of this transaction's own, so that producers do not wait for each other; workers add them up.
        INSERT INTO tally (shard, kind, queued, bytes) VALUES ('sql:' || pg_current_xact_id(), task_type, 1, size)
        ON CONFLICT (shard, kind) DO UPDATE SET queued = tally.queued + 1, bytes = tally.bytes + excluded.bytes;
        PERFORM pg_notify(current_schema() || '_events', 'work');
        RETURN new_id;
    END
    $$
"""

_FIRST_CHECKS = """        IF coalesce(task_type, '') = '' OR coalesce(insignia_enqueue.user_id, '') = '' THEN
            RAISE EXCEPTION 'task_type and user_id must not be empty' USING ERRCODE = '22023';
        ELSIF jsonb_typeof(insignia_enqueue.payload) IS DISTINCT FROM 'object' THEN
            RAISE EXCEPTION 'payload must be a JSON object' USING ERRCODE = '22023';
        ELSIF insignia_enqueue.priority NOT BETWEEN -100 AND 100
            OR insignia_enqueue.max_attempts NOT BETWEEN 1 AND 1000 THEN
            RAISE EXCEPTION 'priority must be between -100 and 100, max_attempts between 1 and 1000'
                USING ERRCODE = '22023';
        END IF;"""

# Control and format characters, spaces other than U+0020, separators of lines and paragraphs, private use: what
# str.isprintable of Python rejects, except for what Unicode has not assigned yet.
INVISIBLE = (
    r"[\u0001-\u001f\u007f-\u00a0\u00ad\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2\u1680\u180e"
    r"\u2000-\u200f\u2028-\u202f\u205f-\u2064\u2066-\u206f\u3000\ue000-\uf8ff\ufeff\ufff9-\ufffb"
    r"\U000110bd\U000110cd\U00013430-\U0001343f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0001"
    r"\U000e0020-\U000e007f\U000f0000-\U000ffffd\U00100000-\U0010fffd]"
)

# The rules of config/user_id.py and worker/runtime/job_request.py. What those trim is rejected here.
_CHECKS = rf"""        CASE
            WHEN (length(task_type) BETWEEN 1 AND 200 AND task_type !~ '^\s|\s$') IS NOT TRUE THEN
                RAISE EXCEPTION 'task_type must be 1 to 200 characters, without white space at its ends'
                    USING ERRCODE = '22023';
            WHEN (length(insignia_enqueue.user_id) BETWEEN 1 AND 256
                AND insignia_enqueue.user_id !~ '^\s|\s$|{INVISIBLE}') IS NOT TRUE THEN
                RAISE EXCEPTION 'user_id must be 1 to 256 printable characters, without invisible ones or white space '
                    'at its ends' USING ERRCODE = '22023';
            WHEN NOT (length(insignia_enqueue.key) BETWEEN 1 AND 200 AND insignia_enqueue.key !~ '^\s|\s$') THEN
                RAISE EXCEPTION 'key must be 1 to 200 characters, without white space at its ends'
                    USING ERRCODE = '22023';
            WHEN jsonb_typeof(insignia_enqueue.payload) IS DISTINCT FROM 'object' THEN
                RAISE EXCEPTION 'payload must be a JSON object' USING ERRCODE = '22023';
            WHEN extract(year FROM insignia_enqueue.run_at AT TIME ZONE 'UTC') BETWEEN 2400 AND 2700 THEN
                RAISE EXCEPTION 'run_at: % looks like a Buddhist year: give the common-era year, %',
                    extract(year FROM insignia_enqueue.run_at AT TIME ZONE 'UTC'),
                    extract(year FROM insignia_enqueue.run_at AT TIME ZONE 'UTC') - 543 USING ERRCODE = '22023';
            WHEN insignia_enqueue.run_at NOT BETWEEN to_timestamp(now_at) - interval '3653 days'
                AND to_timestamp(now_at) + interval '3653 days' THEN
                RAISE EXCEPTION 'run_at must be within ten years' USING ERRCODE = '22023';
            WHEN (insignia_enqueue.priority BETWEEN -100 AND 100) IS NOT TRUE
                OR (insignia_enqueue.max_attempts BETWEEN 1 AND 1000) IS NOT TRUE THEN
                RAISE EXCEPTION 'priority must be between -100 and 100, max_attempts between 1 and 1000'
                    USING ERRCODE = '22023';
            ELSE
        END CASE;"""

CREATE_ENQUEUE_FUNCTION = _FUNCTION.format(create="CREATE", checks=_FIRST_CHECKS)
"""Version 2 of the schema."""
REVOKE_ENQUEUE_FUNCTION = "REVOKE EXECUTE ON FUNCTION insignia_enqueue FROM PUBLIC"
CHECK_ENQUEUE_FUNCTION = _FUNCTION.format(create="CREATE OR REPLACE", checks=_CHECKS)
"""Version 6: it rejects what the other ways of submitting a job reject."""
UNCHECK_ENQUEUE_FUNCTION = _FUNCTION.format(create="CREATE OR REPLACE", checks=_FIRST_CHECKS)
