CREATE TABLE pipeline.deployment_states (
	deployment text PRIMARY KEY REFERENCES pipeline.deployments (id),
	token bigint NOT NULL, -- of the lease that saved it: a lower one is refused
	state bytea NOT NULL,
	saved_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp()
);

ALTER TABLE pipeline.verdicts ADD COLUMN lost jsonb NOT NULL DEFAULT '[]', ADD COLUMN way text NOT NULL DEFAULT '';

-- Since version 2 every deployment that has ended says what serves since.
UPDATE pipeline.deployments d SET serves = t.release FROM pipeline.transitions t
	WHERE d.outcome <> '' AND t.deployment = d.id AND t.seq = d.transitions;
