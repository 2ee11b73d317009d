package backup

import (
	"context"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/metaextract/pipeline/internal/pgtest"
)

// small is a disk of two megabytes.
func small(t testing.TB) string {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=2m"); err != nil {
		t.Skipf("a full disk is a file system mounted for the test, which takes root: %v", err)
	}
	t.Cleanup(func() { require.NoError(t, syscall.Unmount(dir, 0)) })
	return dir
}

const incompressible = "CREATE TABLE t AS SELECT g AS id, sha512(g::text::bytea) AS v FROM generate_series(1, 60000) g"

func TestDiskThatIsFullIsNamedAndLeftEmpty(t *testing.T) {
	address := pgtest.Database(t)
	pgtest.Exec(t, address, incompressible)
	o := options(t, address)
	o.Dir = small(t)
	backup, err := Make(context.Background(), o)
	require.ErrorIs(t, err, syscall.ENOSPC)
	assert.ErrorContains(t, err, "the disk that holds "+o.Dir+" is full after ")
	assert.Regexp(t, `it may need up to \d{7,} \(the size of the tables\)`, err.Error())
	assert.NotContains(t, err.Error(), "pg_dump", "what it says of its end is no reason")
	assert.Empty(t, backup.File)
	assert.Empty(t, inDirectory(t, o.Dir))
	assert.Empty(t, inDirectory(t, o.Temp))
	assert.Equal(t, "0", scratchDatabases(t))
}

func TestDiskOfTheProofThatIsFullSaysNothingOfTheBackup(t *testing.T) {
	address := pgtest.Database(t)
	pgtest.Exec(t, address, incompressible)
	_, recipient := pair(t)
	o := options(t, address)
	o.Dir, o.Temp, o.Recipients = t.TempDir(), small(t), []string{recipient}
	backup, err := Make(context.Background(), o)
	require.ErrorIs(t, err, syscall.ENOSPC)
	assert.NotErrorIs(t, err, ErrNotProven)
	assert.ErrorContains(t, err, o.Temp)
	assert.FileExists(t, backup.File)
	assert.Empty(t, inDirectory(t, o.Temp))
}
