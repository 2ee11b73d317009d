CREATE TABLE pipeline.ledger (
	one boolean PRIMARY KEY DEFAULT true CHECK (one),
	id text NOT NULL DEFAULT pg_catalog.gen_random_uuid()::text,
	created_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp()
);
INSERT INTO pipeline.ledger DEFAULT VALUES;

CREATE TABLE pipeline.releases (
	version text PRIMARY KEY,
	digests jsonb NOT NULL DEFAULT '{}',
	source text NOT NULL,
	git_commit text NOT NULL,
	committed_at timestamptz,
	config_hash text NOT NULL,
	schema_before bigint,
	schema_after bigint,
	built_at timestamptz,
	built_by text NOT NULL,
	recorded_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp()
);

CREATE TABLE pipeline.deployments (
	number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	id text NOT NULL UNIQUE,
	environment text NOT NULL,
	release text NOT NULL REFERENCES pipeline.releases (version),
	from_release text NOT NULL,
	strategy text NOT NULL,
	plan_hash text NOT NULL,
	kind text NOT NULL CHECK (kind IN ('deploy', 'rollback', 'hotfix')),
	requested_by text NOT NULL,
	token bigint NOT NULL,
	state text NOT NULL DEFAULT '',
	slot text NOT NULL DEFAULT '',
	serves text NOT NULL DEFAULT '', -- the release that had all traffic when the deployment was done
	transitions bigint NOT NULL DEFAULT 0,
	started_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
	ended_at timestamptz,
	outcome text NOT NULL DEFAULT '',
	reason text NOT NULL DEFAULT '',
	first_bad_at timestamptz,
	detected_at timestamptz
);
CREATE INDEX deployments_environment ON pipeline.deployments (environment, number);

CREATE TABLE pipeline.audit_records (
	index bigint PRIMARY KEY CHECK (index >= 0),
	record text NOT NULL,
	request text NOT NULL UNIQUE -- of the write that appended it, so that a repeated one appends nothing
);
CREATE TABLE pipeline.audit_hashes (
	index bigint PRIMARY KEY CHECK (index >= 0),
	hash bytea NOT NULL
);
CREATE TABLE pipeline.audit_checkpoints (
	size bigint NOT NULL,
	note text NOT NULL PRIMARY KEY,
	signed_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp()
);

CREATE TABLE pipeline.transitions (
	deployment text NOT NULL REFERENCES pipeline.deployments (id),
	seq bigint NOT NULL CHECK (seq > 0),
	entered_at timestamptz NOT NULL,
	state text NOT NULL,
	slot text NOT NULL,
	release text NOT NULL,
	detail text NOT NULL,
	token bigint NOT NULL,
	audit bigint NOT NULL UNIQUE REFERENCES pipeline.audit_records (index),
	PRIMARY KEY (deployment, seq)
);

CREATE TABLE pipeline.locks (
	environment text PRIMARY KEY,
	token bigint NOT NULL DEFAULT 0,
	request text NOT NULL DEFAULT '',
	held boolean NOT NULL DEFAULT false,
	holder text NOT NULL DEFAULT '',
	host text NOT NULL DEFAULT '',
	pid bigint NOT NULL DEFAULT 0,
	purpose text NOT NULL DEFAULT '',
	acquired_at timestamptz,
	heartbeat_at timestamptz,
	expires_at timestamptz
);
CREATE TABLE pipeline.lock_requests (
	id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	environment text NOT NULL,
	request text NOT NULL UNIQUE,
	holder text NOT NULL,
	host text NOT NULL,
	pid bigint NOT NULL,
	purpose text NOT NULL,
	requested_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
	seen_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
	ended_at timestamptz,
	superseded_by bigint REFERENCES pipeline.lock_requests (id)
);
CREATE INDEX lock_requests_waiting ON pipeline.lock_requests (environment, id) WHERE ended_at IS NULL;

CREATE TABLE pipeline.plans (
	hash text NOT NULL,
	requested_by text NOT NULL,
	environment text NOT NULL,
	release text NOT NULL,
	requested_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
	PRIMARY KEY (hash, requested_by)
);
CREATE TABLE pipeline.approvals (
	id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	plan_hash text NOT NULL,
	approver text NOT NULL,
	approved_at timestamptz NOT NULL,
	expires_at timestamptz NOT NULL,
	audit bigint NOT NULL UNIQUE REFERENCES pipeline.audit_records (index)
);
CREATE INDEX approvals_plan ON pipeline.approvals (plan_hash);

CREATE TABLE pipeline.measurements (
	deployment text NOT NULL REFERENCES pipeline.deployments (id),
	slot text NOT NULL,
	name text NOT NULL,
	measured_at timestamptz NOT NULL,
	value double precision NOT NULL,
	PRIMARY KEY (deployment, slot, name, measured_at)
);

CREATE TABLE pipeline.verdicts (
	environment text NOT NULL,
	from_release text NOT NULL,
	to_release text NOT NULL,
	verdict text NOT NULL CHECK (verdict IN ('SAFE', 'SAFE-WITH-LOSS', 'UNSAFE')),
	reasons jsonb NOT NULL DEFAULT '[]',
	floor text NOT NULL,
	audit bigint PRIMARY KEY REFERENCES pipeline.audit_records (index),
	computed_at timestamptz NOT NULL
);
CREATE INDEX verdicts_route ON pipeline.verdicts (environment, from_release, to_release, audit);

CREATE TABLE pipeline.github_outbox (
	id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	deployment text NOT NULL REFERENCES pipeline.deployments (id),
	state text NOT NULL,
	detail text NOT NULL,
	attempts int NOT NULL DEFAULT 0,
	due_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
	error text NOT NULL DEFAULT '',
	delivered_at timestamptz,
	refused_at timestamptz
);
CREATE INDEX github_outbox_waiting ON pipeline.github_outbox (deployment, id) WHERE delivered_at IS NULL AND refused_at IS NULL;
CREATE TABLE pipeline.github_deployments (
	deployment text PRIMARY KEY REFERENCES pipeline.deployments (id),
	github_id bigint NOT NULL
);

CREATE FUNCTION pipeline.refuse_change() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog AS $$
BEGIN
	RAISE EXCEPTION 'pipeline.% is append-only: % is refused', TG_TABLE_NAME, TG_OP USING ERRCODE = 'insufficient_privilege';
END $$;
DO $$
DECLARE t text;
BEGIN
	FOREACH t IN ARRAY ARRAY['audit_records', 'audit_hashes', 'audit_checkpoints', 'transitions', 'approvals', 'verdicts'] LOOP
		EXECUTE pg_catalog.format('CREATE TRIGGER append_only_rows BEFORE UPDATE OR DELETE ON pipeline.%I FOR EACH ROW EXECUTE FUNCTION pipeline.refuse_change()', t);
		EXECUTE pg_catalog.format('CREATE TRIGGER append_only_table BEFORE TRUNCATE ON pipeline.%I FOR EACH STATEMENT EXECUTE FUNCTION pipeline.refuse_change()', t);
	END LOOP;
END $$;
