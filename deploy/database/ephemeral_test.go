package database_test

import (
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/metaextract/pipeline/deploy/database"
	"github.com/metaextract/pipeline/internal/config"
	"github.com/metaextract/pipeline/internal/host"
	"github.com/metaextract/pipeline/internal/pg"
	"github.com/metaextract/pipeline/internal/pgtest"
)

func TestEphemeralDatabaseHasSchemaAndSeedAndGoesWhenItIsClosed(t *testing.T) {
	files := pgtest.Files("1_items.up.sql", items)
	files["seed.sql"] = &fstest.MapFile{Data: []byte("INSERT INTO items SELECT n, 'lamp' FROM generate_series(1, 10) n;\nUPDATE items SET name = 'chair' WHERE id = 1;\n")}
	e, err := database.MakeEphemeral(t.Context(), host.Cluster{}, 0, files, &config.Database{Migrations: "m", Seed: "seed.sql"}, nil)
	require.NoError(t, err)
	defer e.Close(t.Context()) //nolint:errcheck // it is closed below
	assert.Equal(t, "10 1", pgtest.Value(t, e.URL, "SELECT count(*) || ' ' || count(*) FILTER (WHERE name = 'chair') FROM items"))
	assert.Equal(t, "1", pgtest.Value(t, e.URL, "SELECT version FROM schema_migrations"))
	require.NoError(t, e.Close(t.Context()))
	_, err = pg.Connect(t.Context(), e.URL)
	require.Error(t, err)
}

func TestSeedThatFailsIsNamedByItsPlace(t *testing.T) {
	tests := map[string]struct{ file, seed, says string }{
		"no file":          {"nowhere.sql", "", "read seed: open nowhere.sql"},
		"a statement":      {"seed.sql", "SELECT 1;\nINSERT INTO item VALUES (1);\n", `seed.sql:2:13: relation "item" does not exist`},
		"a row":            {"seed.sql", "INSERT INTO items VALUES (1, 'lamp'), (1, 'chair');\n", `duplicate key value violates unique constraint "items_pkey"`},
		"no text at all":   {"seed.sql", "caf\xe9", "seed.sql:1:4"},
		"no file is named": {"", "", ""},
	}
	url := pgtest.Database(t)
	pgtest.Exec(t, url, items)
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			err := database.Seed(t.Context(), url, fstest.MapFS{"seed.sql": {Data: []byte(test.seed)}}, test.file)
			if test.says == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorContains(t, err, test.says)
			assert.NotContains(t, err.Error(), "(id)=(1)", "PostgreSQL's detail quotes the row")
			assert.Equal(t, "0", pgtest.Value(t, url, "SELECT count(*) FROM items"), "nothing half done is left")
		})
	}
}
