package backup

import (
	"bytes"
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"filippo.io/age"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/metaextract/pipeline/internal/pgtest"
)

// pair is a private key and its public one.
func pair(t testing.TB) (identity, recipient string) {
	i, err := age.GenerateX25519Identity()
	require.NoError(t, err)
	return i.String(), i.Recipient().String()
}

func TestBackupThatIsEncryptedIsProvenAsItIsKept(t *testing.T) {
	address := pgtest.Database(t)
	pgtest.Exec(t, address, "CREATE TABLE t AS SELECT g AS id, 'needle in a haystack' AS v FROM generate_series(1, 1000) g; ALTER TABLE t ALTER v SET DEFAULT 'needle in a haystack'")
	identity, recipient := pair(t)
	other, second := pair(t)
	o := options(t, address)
	o.Dir, o.Recipients = t.TempDir(), []string{recipient, second}
	var plain string
	o.Dumper = tools{TB: t, loading: func(file string) {
		plain = file
		info, err := os.Stat(file)
		require.NoError(t, err)
		assert.Equal(t, os.FileMode(0o600), info.Mode().Perm())
		info, err = os.Stat(filepath.Dir(file))
		require.NoError(t, err)
		assert.Equal(t, os.FileMode(0o700), info.Mode().Perm())
	}}
	backup, err := Make(context.Background(), o)
	require.NoError(t, err)
	assert.True(t, backup.Proven)
	assert.Equal(t, []string{recipient, second}, backup.Recipients)
	assert.Equal(t, o.Temp, filepath.Dir(filepath.Dir(plain)), "in the clear, in the run's own directory alone")
	assert.NoFileExists(t, plain)
	assert.Equal(t, ".age", filepath.Ext(backup.File))

	stored, err := os.ReadFile(backup.File)
	require.NoError(t, err)
	beside, err := os.ReadFile(backup.File + ".json")
	require.NoError(t, err)
	for _, text := range []string{"PGDMP", "needle"} {
		assert.NotContains(t, string(stored), text)
		assert.NotContains(t, string(beside), text)
	}
	for _, key := range []string{identity, other} {
		i, err := age.ParseX25519Identity(key)
		require.NoError(t, err)
		r, err := age.Decrypt(bytes.NewReader(stored), i)
		require.NoError(t, err)
		text, err := io.ReadAll(r)
		require.NoError(t, err)
		assert.True(t, bytes.HasPrefix(text, []byte("PGDMP")))
	}

	verify := VerifyOptions{File: backup.File, Identity: "# a comment\n" + identity + "\n", Dumper: tools{TB: t}, Scratch: pgtest.Server(t), Temp: t.TempDir()}
	again, err := Verify(context.Background(), verify)
	require.NoError(t, err)
	assert.True(t, again.Proven)
	stranger, _ := pair(t)
	for _, wrong := range []string{"", stranger} {
		verify.Identity = wrong
		_, err = Verify(context.Background(), verify)
		require.ErrorIs(t, err, ErrIdentity)
		assert.ErrorContains(t, err, recipient)
	}
	verify.Identity = identity[:20] + "X"
	_, err = Verify(context.Background(), verify)
	require.ErrorContains(t, err, "age-keygen")
	assert.NotContains(t, err.Error(), identity[15:20])
}

func TestBackupIsReadByTheCommandLineOfAge(t *testing.T) {
	program, err := exec.LookPath("age")
	if err != nil {
		t.Skip("age is not on PATH (apt-get install age); the library that it is made of reads the file in another test")
	}
	identity, recipient := pair(t)
	k, err := newKey([]string{recipient})
	require.NoError(t, err)
	var stored bytes.Buffer
	w, err := k.encrypt(&stored)
	require.NoError(t, err)
	plain := bytes.Repeat([]byte("PGDMP and more"), 10_000)
	_, err = w.Write(plain)
	require.NoError(t, err)
	require.NoError(t, w.Close())
	key := filepath.Join(t.TempDir(), "key")
	require.NoError(t, os.WriteFile(key, []byte(identity), 0o600))
	c := exec.Command(program, "-d", "-i", key)
	c.Stdin = &stored
	out, err := c.Output()
	require.NoError(t, err)
	assert.True(t, bytes.Equal(plain, out))
}

func TestRecipientsThatAreNone(t *testing.T) {
	identity, recipient := pair(t)
	hybrid, err := age.GenerateHybridIdentity()
	require.NoError(t, err)
	for _, test := range []struct {
		name       string
		recipients []string
		says       string
	}{
		{"a private key", []string{recipient, identity}, "recipient 2 is no public key of age"},
		{"a public key with a letter too few", []string{recipient[:40]}, "recipient 1 (" + recipient[:40] + ")"},
		{"a mix of kinds", []string{recipient, hybrid.Recipient().String()}, "use one kind"},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := newKey(test.recipients)
			require.ErrorContains(t, err, test.says)
			assert.NotContains(t, err.Error(), identity)
		})
	}
	k, err := newKey([]string{hybrid.Recipient().String()})
	require.NoError(t, err)
	var stored bytes.Buffer
	w, err := k.encrypt(&stored)
	require.NoError(t, err)
	_, _ = io.WriteString(w, "text")
	require.NoError(t, w.Close())
	for _, with := range [][]age.Identity{k.own, {hybrid}} {
		r, err := decrypt(bytes.NewReader(stored.Bytes()), k.names, with)
		require.NoError(t, err)
		text, err := io.ReadAll(r)
		require.NoError(t, err)
		assert.Equal(t, "text", string(text))
	}
}
