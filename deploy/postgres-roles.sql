-- The roles of a store in PostgreSQL, each with no more rights than it needs. Run as a superuser, in the database of the
-- store, before the first `insignia-worker db migrate` and once more after it (then the function for producers exists).
-- It may be run any number of times. Set the passwords afterwards, for example with \password of psql.

DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['insignia_owner', 'insignia_service', 'insignia_producer'] LOOP
        IF to_regrole(name) IS NULL THEN
            EXECUTE format('CREATE ROLE %I LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION', name);
        END IF;
        EXECUTE format('GRANT CONNECT ON DATABASE %I TO %I', current_database(), name);
    END LOOP;
END
$$;

-- insignia_owner: `db migrate`. Owns the schema and all that is in it.
CREATE SCHEMA IF NOT EXISTS insignia AUTHORIZATION insignia_owner;
REVOKE ALL ON SCHEMA insignia FROM PUBLIC;
ALTER DEFAULT PRIVILEGES FOR ROLE insignia_owner REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;

-- insignia_service: the workers. Rows only; it can neither change the schema nor delete a table.
GRANT USAGE ON SCHEMA insignia TO insignia_service;
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA insignia TO insignia_service;
GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA insignia TO insignia_service;
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA insignia TO insignia_service;
ALTER DEFAULT PRIVILEGES FOR ROLE insignia_owner IN SCHEMA insignia
    GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO insignia_service;
ALTER DEFAULT PRIVILEGES FOR ROLE insignia_owner IN SCHEMA insignia
    GRANT USAGE, SELECT ON SEQUENCES TO insignia_service;
ALTER DEFAULT PRIVILEGES FOR ROLE insignia_owner IN SCHEMA insignia
    GRANT EXECUTE ON FUNCTIONS TO insignia_service;

-- insignia_producer: programs that submit jobs. One function, no table.
GRANT USAGE ON SCHEMA insignia TO insignia_producer;
DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_proc WHERE pronamespace = to_regnamespace('insignia') AND proname = 'insignia_enqueue') THEN
        GRANT EXECUTE ON FUNCTION insignia.insignia_enqueue TO insignia_producer;
        REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA insignia FROM PUBLIC;
    END IF;
END
$$;
