"""The SQL function with which programs in other languages submit a job in a transaction of their own."""

from worker.stores.postgres.budget import ROW_BYTES

CREATE_ENQUEUE_FUNCTION = f"""
    CREATE FUNCTION insignia_enqueue(
        task_type text, user_id text, payload jsonb DEFAULT '{{}}', run_at timestamptz DEFAULT NULL,
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
        IF coalesce(task_type, '') = '' OR coalesce(insignia_enqueue.user_id, '') = '' THEN
            RAISE EXCEPTION 'task_type and user_id must not be empty' USING ERRCODE = '22023';
        ELSIF jsonb_typeof(insignia_enqueue.payload) IS DISTINCT FROM 'object' THEN
            RAISE EXCEPTION 'payload must be a JSON object' USING ERRCODE = '22023';
        ELSIF insignia_enqueue.priority NOT BETWEEN -100 AND 100
            OR insignia_enqueue.max_attempts NOT BETWEEN 1 AND 1000 THEN
            RAISE EXCEPTION 'priority must be between -100 and 100, max_attempts between 1 and 1000'
                USING ERRCODE = '22023';
        END IF;
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

REVOKE_ENQUEUE_FUNCTION = "REVOKE EXECUTE ON FUNCTION insignia_enqueue FROM PUBLIC"
