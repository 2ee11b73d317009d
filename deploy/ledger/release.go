package ledger

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/metaextract/pipeline/deploy"
)

// Release is a built version, as it is remembered.
type Release struct {
	Version   string            `json:"version"`
	Digests   map[string]string `json:"digests"` // by component: sha256:…
	Source    string            `json:"source"`
	Commit    string            `json:"commit"`
	Committed time.Time         `json:"committed,omitzero"` // of the commit: lead time counts from here
	Config    string            `json:"config"`             // hash of its configuration
	// SchemaBefore and SchemaAfter are the migrations it was made to start from and to lead to; nil: it has no database.
	SchemaBefore *int64    `json:"schema_before,omitempty"`
	SchemaAfter  *int64    `json:"schema_after,omitempty"`
	Built        time.Time `json:"built,omitzero"`
	BuiltBy      string    `json:"built_by"`
}

const releaseColumns = `version, digests, source, git_commit, coalesce(committed_at, '0001-01-01 00:00:00+00'), config_hash, schema_before, schema_after,
	coalesce(built_at, '0001-01-01 00:00:00+00'), built_by`

func (r *Release) fields() []any {
	return []any{&r.Version, &r.Digests, &r.Source, &r.Commit, &r.Committed, &r.Config, &r.SchemaBefore, &r.SchemaAfter, &r.Built, &r.BuiltBy}
}

// RecordRelease remembers a release. The same again is no error; a version that was recorded with other digests is, as a
// version names one artifact.
func (l *Ledger) RecordRelease(ctx context.Context, r Release) error {
	if r.Digests == nil {
		r.Digests = map[string]string{}
	}
	digests := asJSON(r.Digests)
	return l.write(ctx, "record release "+r.Version, func(ctx context.Context, tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `INSERT INTO pipeline.releases (version, digests, source, git_commit, committed_at, config_hash, schema_before, schema_after, built_at, built_by)
			VALUES ($1, $2::jsonb, $3, $4, nullif($5::timestamptz, '0001-01-01 00:00:00+00'), $6, $7, $8, nullif($9::timestamptz, '0001-01-01 00:00:00+00'), $10) ON CONFLICT DO NOTHING`,
			clean(r.Version), digests, clean(r.Source), clean(r.Commit), r.Committed, clean(r.Config), r.SchemaBefore, r.SchemaAfter, r.Built, clean(r.BuiltBy))
		if err != nil {
			return err
		}
		var same bool
		err = tx.QueryRow(ctx, "SELECT digests = $2::jsonb FROM pipeline.releases WHERE version = $1", clean(r.Version), digests).Scan(&same)
		if err == nil && !same {
			return deny("it was recorded before with other digests: give what was built now a version of its own")
		}
		return err
	})
}

// ErrUnknownRelease means that no release of this version was recorded.
var ErrUnknownRelease = errors.New("the ledger knows no such release")

// FindRelease is a release that was recorded. Its error is ErrUnknownRelease where it was not.
func (l *Ledger) FindRelease(ctx context.Context, version string) (r Release, err error) {
	err = l.read(ctx, fmt.Sprintf("find release %q", version), func(ctx context.Context, tx pgx.Tx) error {
		r = Release{}
		err := tx.QueryRow(ctx, "SELECT "+releaseColumns+" FROM pipeline.releases WHERE version = $1", clean(version)).Scan(r.fields()...)
		if errors.Is(err, pgx.ErrNoRows) {
			return refused{ErrUnknownRelease}
		}
		return err
	})
	return r, err
}

// Rebuild makes of a release, as it is remembered, one that can be started now: where the artifacts of its digests are,
// configuration, and secrets are resolved anew.
type Rebuild func(ctx context.Context, remembered Release) (deploy.Release, error)

// Releases are an environment's earlier releases, for a deployment.
type Releases struct {
	ledger      *Ledger
	environment string
	rebuild     Rebuild
}

var _ deploy.Releases = (*Releases)(nil)

// Releases knows an environment's earlier releases. It needs no lease: it only reads, and observes.
func (l *Ledger) Releases(environment string, rebuild Rebuild) *Releases {
	return &Releases{ledger: l, environment: environment, rebuild: rebuild}
}

// LastGood is Ledger.LastGood, rebuilt.
func (r *Releases) LastGood(ctx context.Context) (deploy.Release, error) {
	good, err := r.ledger.LastGood(ctx, r.environment)
	if err != nil {
		return deploy.Release{}, err
	}
	return r.build(ctx, good.Release)
}

// Release is a release that was recorded, rebuilt; or ErrUnknownRelease.
func (r *Releases) Release(ctx context.Context, version string) (deploy.Release, error) {
	remembered, err := r.ledger.FindRelease(ctx, version)
	if err != nil {
		return deploy.Release{}, err
	}
	return r.build(ctx, remembered)
}

func (r *Releases) build(ctx context.Context, remembered Release) (deploy.Release, error) {
	built, err := r.rebuild(ctx, remembered)
	if err != nil {
		return deploy.Release{}, fmt.Errorf("rebuild release %s: %w", remembered.Version, err)
	}
	if built.Version != remembered.Version {
		return deploy.Release{}, fmt.Errorf("rebuild release %s: it became %q", remembered.Version, built.Version)
	}
	return built, nil
}

// Judged writes the verdict.
func (r *Releases) Judged(ctx context.Context, verdict deploy.Verdict) error {
	return r.ledger.RecordVerdict(ctx, Verdict{Environment: r.environment, Verdict: verdict})
}
