-- The events not yet seen, those of large transactions too, for which a single row of op B stands.
CREATE TABLE seen (id bigint);
CREATE FUNCTION new_events() RETURNS SETOF json LANGUAGE plpgsql AS $$
DECLARE
	log text := (SELECT string_agg(format('SELECT * FROM notifyd.log_%s', i), ' UNION ALL ') FROM generate_series(0, 7) AS i);
	r record;
BEGIN
	FOR r IN EXECUTE format('SELECT * FROM (%s) AS l WHERE id > %s ORDER BY id', log, coalesce((SELECT max(id) FROM seen), 0)) LOOP
		INSERT INTO seen VALUES (r.id);
		IF r.op = 'B' THEN
			RETURN QUERY SELECT regexp_replace(notify_fetch(i)::text, '^{.*?"at":"[^"]*",', '{')::json
				FROM generate_series(r.id, r.id + r.of - 1) AS i;
		ELSE
			RETURN NEXT ('{' || r.event || '}')::json;
		END IF;
	END LOOP;
END
$$;
