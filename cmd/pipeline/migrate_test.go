package main

import (
	"encoding/json"
	"net/url"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/metaextract/pipeline/internal/host"
)

func TestMigrateBacksUpAppliesAndHasNothingMoreToDo(t *testing.T) {
	server, err := host.StartPostgres(t.Context(), "", host.PostgresOptions{})
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, server.Close()) })
	database, err := server.CreateDatabase(t.Context(), "shop")
	require.NoError(t, err)
	parsed, err := url.Parse(database)
	require.NoError(t, err)
	password, _ := parsed.User.Password()

	files := tiny()
	files["pipeline.yaml"] += "database: {migrations: migrations}\n"
	files["migrations/001_items.up.sql"] = "CREATE TABLE items (id bigint PRIMARY KEY);\n"
	files["migrations/001_items.down.sql"] = "DROP TABLE items;\n"
	dir := write(t, files)
	env := []string{"SHOP_DATABASE=" + database}
	migrate := func(args ...string) outcome {
		got := pipelineWithServer(t, dir, env, append([]string{"migrate"}, append(args, "--database", "env://SHOP_DATABASE")...)...)
		assert.NotContains(t, got.out, password)
		return got
	}

	assert.Contains(t, migrate("plan").out, "items")
	up := migrate("up", "--backups", filepath.Join(t.TempDir(), "backups"), "--output", "json")
	require.Equal(t, 0, up.code, up.out)
	var result struct {
		Backup  struct{ Proven bool }
		Outcome struct{ To int }
	}
	require.NoError(t, json.Unmarshal([]byte(up.out), &result), up.out)
	assert.True(t, result.Backup.Proven)
	assert.Equal(t, 1, result.Outcome.To)
	assert.Contains(t, migrate("plan").out, "nothing to do")

	write := write(t, map[string]string{})
	wrong := pipelineWithServer(t, dir, []string{"SHOP_DATABASE=" + database}, "migrate", "up", "--database", database, "--backups", write)
	assert.Equal(t, 2, wrong.code, "a URL on the command line is refused")
	assert.NotContains(t, wrong.out, password)
}
