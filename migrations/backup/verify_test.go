package backup

import (
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/metaextract/pipeline/internal/pgtest"
)

// made is a backup in a directory of its own.
func made(t testing.TB, address string, change func(*Options)) Backup {
	o := options(t, address)
	o.Dir = t.TempDir()
	if change != nil {
		change(&o)
	}
	b, err := Make(context.Background(), o)
	require.NoError(t, err)
	return b
}

func verify(t testing.TB, file string) (Backup, error) {
	return Verify(context.Background(), VerifyOptions{File: file, Dumper: tools{TB: t}, Scratch: pgtest.Server(t), Temp: t.TempDir()})
}

func TestManifestSaysWhatTheBackupIs(t *testing.T) {
	address := pgtest.Database(t)
	pgtest.Exec(t, address, `CREATE TABLE t AS SELECT g AS id FROM generate_series(1, 10) g; ALTER TABLE t ALTER id SET DEFAULT 4711`)
	b := made(t, address, func(o *Options) {
		o.Label, o.SchemaVersion, o.Release, o.RestorePoint = "before 12", 11, "v1.2.3", PointName(11)
	})
	text, err := os.ReadFile(b.File + ".json")
	require.NoError(t, err)
	assert.NotContains(t, string(text), pgtest.Password)
	assert.NotContains(t, string(text), "127.0.0.1")
	m, err := readManifest(b.File)
	require.NoError(t, err)
	want, got := b, m.Backup
	want.Finished, got.Finished, want.Duration, got.Duration = time.Time{}, time.Time{}, 0, 0 // the manifest was written before the last of it
	assert.Equal(t, want, got)
	assert.Regexp(t, `^\d{8}T\d{6}Z-[a-z0-9]{8}$`, b.ID)
	assert.Equal(t, name(address), b.Database)
	assert.Equal(t, pgtest.Value(t, address, "SELECT system_identifier FROM pg_control_system()"), b.System)
	assert.Equal(t, 1, b.Timeline)
	assert.Equal(t, "true", pgtest.Value(t, address, "SELECT '"+b.LSN+"' < '"+b.RestorePoint.LSN+"'::pg_lsn"))
	assert.Equal(t, "before 12", b.Label)
	assert.True(t, b.Finished.After(b.Started))
	assert.Len(t, b.Proof, 9)
	for _, r := range b.Proof {
		assert.True(t, r.OK, r.Name)
		assert.Positive(t, r.Duration, r.Name)
		assert.NotEmpty(t, r.Detail, r.Name)
	}
	d, err := m.unseal(nil)
	require.NoError(t, err)
	assert.Equal(t, name(address), d.Origin.Name)
	list, err := List(filepath.Dir(b.File))
	require.NoError(t, err)
	require.Len(t, list, 1)
	assert.Equal(t, Proven, list[0].State)
	assert.Equal(t, b.File, list[0].File)
}

func TestOldBackupIsProvenAgain(t *testing.T) {
	address := pgtest.Database(t)
	pgtest.Exec(t, address, peculiar)
	b := made(t, address, nil)
	pgtest.Exec(t, address, "DROP SCHEMA public CASCADE")
	again, err := verify(t, b.File)
	require.NoError(t, err, "the original has changed since, and does not matter")
	assert.True(t, again.Proven)
	assert.Equal(t, []string{RungFile, RungServer, RungTool, RungRestore, RungSchema, RungAmcheck, RungRows, RungSequences}, names(again.Proof))
	assert.Equal(t, b.Tool, again.Tool)
	assert.Equal(t, b.File, again.File)
	assert.Equal(t, "0", scratchDatabases(t))

	keep, err := Verify(context.Background(), VerifyOptions{File: b.File, Dumper: tools{TB: t}, Scratch: pgtest.Server(t), Keep: true})
	require.NoError(t, err)
	assert.Equal(t, "2000", pgtest.Value(t, keep.Copy.URL, "SELECT count(*) FROM extractions"))
	require.NoError(t, keep.Copy.Close(context.Background()))
}

func TestBackupThatDecayedIsNoticed(t *testing.T) {
	address := pgtest.Database(t)
	pgtest.Exec(t, address, "CREATE TABLE t AS SELECT g AS id, md5(g::text) AS v FROM generate_series(1, 3000) g")
	identity, recipient := pair(t)
	for _, kind := range []struct {
		name       string
		recipients []string
	}{{"in the clear", nil}, {"encrypted", []string{recipient}}} {
		b := made(t, address, func(o *Options) { o.Recipients = kind.recipients })
		whole, err := os.ReadFile(b.File)
		require.NoError(t, err)
		flip := func(at int) []byte {
			body := append([]byte(nil), whole...)
			body[at] ^= 0x10
			return body
		}
		for what, body := range map[string][]byte{
			"cut": whole[:len(whole)-1], "empty": {}, "longer": append(append([]byte(nil), whole...), 0), "a bit of the first byte": flip(0), "a bit of the header": flip(30),
			"a bit of the first tenth": flip(len(whole) / 10), "a bit of the middle": flip(len(whole) / 2), "a bit of the end": flip(len(whole) - 2),
		} {
			t.Run(kind.name+", "+what, func(t *testing.T) {
				require.NoError(t, os.WriteFile(b.File, body, 0o600))
				again, err := Verify(context.Background(), VerifyOptions{File: b.File, Identity: identity, Dumper: tools{TB: t}, Scratch: pgtest.Server(t), Temp: t.TempDir()})
				require.ErrorIs(t, err, ErrNotProven)
				assert.Contains(t, names(again.Proof), "file failed")
				m, err := readManifest(b.File)
				require.NoError(t, err)
				assert.False(t, m.Proven, "written down")
			})
		}
		require.NoError(t, os.WriteFile(b.File, whole, 0o600))
		again, err := Verify(context.Background(), VerifyOptions{File: b.File, Identity: identity, Dumper: tools{TB: t}, Scratch: pgtest.Server(t), Temp: t.TempDir()})
		require.NoError(t, err)
		assert.True(t, again.Proven, "as it was")
	}
}

// What flips before the checksum is taken, as in the memory of this machine, is found by the restore, or by what it
// restored. (In the table of contents, which is the first tenth here, there are bits that do not matter to a restore.)
func TestDumpThatIsAlteredBeforeItIsWrittenIsNoticed(t *testing.T) {
	address := pgtest.Database(t)
	pgtest.Exec(t, address, "CREATE TABLE t AS SELECT g AS id, md5(g::text) AS v FROM generate_series(1, 3000) g; CREATE INDEX i ON t (v)")
	whole := made(t, address, nil)
	for _, part := range []float64{0, 0.2, 0.3, 0.5, 0.7, 0.9, 0.999} {
		o := options(t, address)
		o.Dir = t.TempDir()
		at := int(part * float64(whole.Bytes))
		o.Dumper = tools{TB: t, dumped: func(b []byte) []byte {
			b[at] ^= 0x04
			return b
		}}
		_, err := Make(context.Background(), o)
		assert.ErrorIs(t, err, ErrNotProven, "bit %d of %d", at, whole.Bytes)
	}
}

func TestVerifyWithoutWhatItNeeds(t *testing.T) {
	address := pgtest.Database(t)
	b := made(t, address, nil)
	_, err := verify(t, b.File+"x")
	assert.ErrorIs(t, err, fs.ErrNotExist)
	_, err = Verify(context.Background(), VerifyOptions{File: b.File, Dumper: tools{TB: t}})
	assert.ErrorContains(t, err, "no place for the proof")
	_, err = Verify(context.Background(), VerifyOptions{File: b.File, Scratch: pgtest.Server(t), Dumper: tools{TB: t, version: Version{12, "12.3"}}})
	assert.ErrorIs(t, err, ErrTool)
	m, err := readManifest(b.File)
	require.NoError(t, err)
	assert.True(t, m.Proven, "that the tools are old says nothing of the backup")
	require.NoError(t, os.Remove(b.File+".json"))
	_, err = verify(t, b.File)
	require.ErrorIs(t, err, fs.ErrNotExist)
	assert.ErrorContains(t, err, "pg_restore reads the file")
}

func FuzzManifest(f *testing.F) {
	f.Add([]byte(`{"format": 1, "bytes": 5, "sealed": "H4sIAAAAAAAA/w=="}`), []byte("12345"))
	f.Add([]byte(`{"format": 1, "recipients": ["age1"], "sealed": "YWdl"}`), []byte{})
	f.Add([]byte(`{"format": 1, "proof": [{}], "proven": true, "restore_point": {}}`), []byte("x"))
	identity, _ := pair(f)
	f.Fuzz(func(t *testing.T, text, sealed []byte) {
		file := filepath.Join(t.TempDir(), "backup-20261125T120000Z-abcdefgh.dump")
		require.NoError(t, os.WriteFile(file+".json", text, 0o600))
		with, err := identities(identity)
		require.NoError(t, err)
		if m, err := readManifest(file); err == nil {
			_, _ = m.unseal(with)
			m.Sealed = sealed
			d, err := m.unseal(with)
			require.True(t, err != nil || d.Schema != nil && d.Origin != nil)
		}
		list, err := List(filepath.Dir(file))
		require.NoError(t, err)
		require.Len(t, list, 1)
		require.NotEqual(t, Proven, list[0].State, "there is no file")
	})
}
