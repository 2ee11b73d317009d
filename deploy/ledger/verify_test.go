package ledger

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/metaextract/pipeline/deploy"
	"github.com/metaextract/pipeline/internal/pgtest"
)

// full makes a ledger with eleven records of all kinds, signed after six and after nine, and returns the checkpoints.
func full(t testing.TB) (l *Ledger, address string, signer note.Signer, trusted note.Verifiers, checkpoints []string) {
	l, address = fresh(t)
	signer, trusted = key(t)
	sign := func() {
		signed, err := l.Sign(background, signer)
		require.NoError(t, err)
		checkpoints = append(checkpoints, signed)
	}
	require.NoError(t, l.RecordKey(background, "ann", KeyAdded, "ledger.test+…"))                                                             // 0
	lease := acquire(t, l, "production")                                                                                                      //
	started(t, l, lease, "d1", "v1")                                                                                                          // 1
	write(t, lease, "d1", "v1", deploy.Planned, deploy.Starting, deploy.Shifting)                                                             // 2 3 4
	require.NoError(t, l.Request(background, Plan{Hash: "p", Environment: "production", By: "ann"}))                                          // 5
	sign()                                                                                                                                    // 6
	require.NoError(t, l.Approve(background, "p", "bob", time.Hour))                                                                          // 6
	require.NoError(t, l.RecordVerdict(background, Verdict{Verdict: deploy.Verdict{From: "v1", To: "v0", Safety: deploy.Unsafe}}))            // 7
	write(t, lease, "d1", "v1", deploy.Baking)                                                                                                // 8
	sign()                                                                                                                                    // 9
	write(t, lease, "d1", "v1", deploy.Done)                                                                                                  // 9
	require.NoError(t, l.RecordVerdict(background, Verdict{Verdict: deploy.Verdict{From: "v1", To: "v0", Safety: deploy.Safe}, Floor: "v0"})) // 10
	return l, address, signer, trusted, checkpoints
}

// disarm is what a superuser can do, and everybody should notice.
const disarm = `ALTER TABLE pipeline.audit_records DISABLE TRIGGER ALL; ALTER TABLE pipeline.audit_hashes DISABLE TRIGGER ALL;
	ALTER TABLE pipeline.audit_checkpoints DISABLE TRIGGER ALL; ALTER TABLE pipeline.transitions DISABLE TRIGGER ALL; ALTER TABLE pipeline.approvals DISABLE TRIGGER ALL;
	ALTER TABLE pipeline.verdicts DISABLE TRIGGER ALL; SET LOCAL session_replication_role = replica;`

func TestVerifyHolds(t *testing.T) {
	l, _, _, trusted, checkpoints := full(t)
	result, err := l.Verify(background, trusted, checkpoints...)
	require.NoError(t, err)
	assert.Equal(t, Verified{Ledger: l.ID(), Size: 11, Root: result.Root, Signed: 9}, result)
	empty, _ := fresh(t)
	result, err = empty.Verify(background, trusted)
	require.NoError(t, err)
	assert.Zero(t, result.Size)
	_, trustedByOthers := key(t)
	_, err = l.Verify(background, trustedByOthers)
	require.ErrorContains(t, err, "a checkpoint kept with the log")
}

func TestVerifyFindsTheFirstRecordThatIsWrong(t *testing.T) {
	cases := map[string]struct {
		sql   string
		first int64
		says  string
	}{
		"a record edited":                       {`UPDATE pipeline.audit_records SET record = replace(record, 'starting', 'baking') WHERE index = 3`, 3, "not what its hash was made of"},
		"two edited, the first counts":          {`UPDATE pipeline.audit_records SET record = record || ' ' WHERE index IN (5, 2)`, 2, "not what its hash was made of"},
		"a record deleted":                      {`DELETE FROM pipeline.audit_records WHERE index = 4`, 4, "it is missing"},
		"a record deleted, the others moved up": {`DELETE FROM pipeline.audit_records WHERE index = 4; UPDATE pipeline.audit_records SET index = index + 100 WHERE index > 4; UPDATE pipeline.audit_records SET index = index - 101 WHERE index > 100`, 4, "not what its hash"},
		"two records exchanged":                 {`UPDATE pipeline.audit_records SET index = 100 WHERE index = 3; UPDATE pipeline.audit_records SET index = 3 WHERE index = 4; UPDATE pipeline.audit_records SET index = 4 WHERE index = 100`, 3, "not what its hash"},
		"a record inserted at the end":          {`INSERT INTO pipeline.audit_records VALUES (11, '{}', 'x')`, 11, "not what its hash"},
		"a leaf's hash changed":                 {`UPDATE pipeline.audit_hashes SET hash = sha256('x') WHERE index = 0`, 0, "not what its hash"},
		"a hash within the tree changed":        {`UPDATE pipeline.audit_hashes SET hash = sha256('x') WHERE index = 6`, 3, "the hash of the 4 records that end with it"},
		"a hash deleted":                        {`DELETE FROM pipeline.audit_hashes WHERE index = 2`, 1, "the hash of the 2 records"},
		"the last record cut off":               {`DELETE FROM pipeline.audit_records WHERE index = 10`, 10, "there are hashes of more records"},
		"the last cut off with its hash":        {`DELETE FROM pipeline.audit_records WHERE index = 10; DELETE FROM pipeline.audit_hashes WHERE index >= 18`, 10, "2 rows in pipeline.verdicts"},
		"the end cut off, before a checkpoint":  {`DELETE FROM pipeline.audit_records WHERE index >= 8; DELETE FROM pipeline.audit_hashes WHERE index >= 15`, 8, "a checkpoint was signed for 9 records"},
		"a transition's row edited":             {`UPDATE pipeline.transitions SET detail = 'all well' WHERE seq = 2`, 3, "the row in pipeline.transitions"},
		"a transition's row deleted":            {`DELETE FROM pipeline.transitions WHERE seq = 2`, 3, "its row in pipeline.transitions is gone"},
		"a transition's row added":              {`INSERT INTO pipeline.transitions SELECT deployment, 9, entered_at, state, slot, release, detail, token, 99 FROM pipeline.transitions WHERE seq = 1`, 11, "6 rows in pipeline.transitions"},
		"a transition's row of another record":  {`INSERT INTO pipeline.transitions SELECT deployment, 9, entered_at, state, slot, release, detail, token, 0 FROM pipeline.transitions WHERE seq = 1`, 0, "the row in pipeline.transitions"},
		"who is said to have approved":          {`UPDATE pipeline.approvals SET approver = 'ann'`, 6, "the row in pipeline.approvals"},
		"how long an approval lasts":            {`UPDATE pipeline.approvals SET expires_at = expires_at + interval '1 year'`, 6, "the row in pipeline.approvals"},
		"a verdict made safe":                   {`UPDATE pipeline.verdicts SET verdict = 'SAFE' WHERE audit = 7`, 7, "the row in pipeline.verdicts"},
		"what a verdict says is lost":           {`UPDATE pipeline.verdicts SET lost = '[{"what": "rows", "rows": 1}]' WHERE audit = 7`, 7, "the row in pipeline.verdicts"},
		"the way out of a verdict":              {`UPDATE pipeline.verdicts SET way = 'none' WHERE audit = 7`, 7, "the row in pipeline.verdicts"},
		"where a deployment went":               {`UPDATE pipeline.deployments SET environment = 'staging'`, 2, "the row in pipeline.transitions"},
	}
	l, address, _, trusted, _ := full(t)
	conn := pgtest.Session(t, address)
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			tx, err := conn.Begin(background)
			require.NoError(t, err)
			defer func() { require.NoError(t, tx.Rollback(background)) }()
			_, err = tx.Exec(background, disarm+c.sql, pgtest.Simply)
			require.NoError(t, err)
			_, err = l.verify(background, tx, trusted, nil)
			var tampered *TamperError
			require.ErrorAs(t, err, &tampered)
			assert.ErrorContains(t, err, c.says)
			assert.Equal(t, c.first, tampered.First)
			assert.Equal(t, c.first, tampered.Last)
		})
	}
}

// rewrite changes a record, and all hashes so that they agree with it.
func rewrite(t testing.TB, address string, index int64, from, to string) {
	t.Helper()
	pgtest.Exec(t, address, disarm+fmt.Sprintf("UPDATE pipeline.audit_records SET record = replace(record, '%s', '%s') WHERE index = %d", from, to, index))
	conn := pgtest.Session(t, address)
	rows, err := conn.Query(background, "SELECT record FROM pipeline.audit_records ORDER BY index")
	require.NoError(t, err)
	var f frontier
	sql := disarm + "DELETE FROM pipeline.audit_hashes;"
	at := 0
	for rows.Next() {
		var text []byte
		require.NoError(t, rows.Scan(&text))
		for _, h := range f.add(tlog.RecordHash(text)) {
			sql += fmt.Sprintf("INSERT INTO pipeline.audit_hashes VALUES (%d, '\\x%x');", at, h[:])
			at++
		}
	}
	require.NoError(t, rows.Err())
	pgtest.Exec(t, address, sql)
}

func TestWhatOnlyACheckpointShows(t *testing.T) {
	l, address, signer, trusted, checkpoints := full(t)
	l.Close()
	verify := func(address string, seen ...string) *TamperError {
		_, err := open(t, address, quick).Verify(background, trusted, seen...)
		var tampered *TamperError
		if !errors.As(err, &tampered) {
			require.NoError(t, err)
		}
		return tampered
	}
	t.Run("a record and all hashes rewritten", func(t *testing.T) {
		copied := pgtest.Copy(t, address)
		rewrite(t, copied, 5, "ann", "eve")
		assert.Equal(t, []int64{0, 5}, bounds(t, verify(copied)))
		copied = pgtest.Copy(t, address)
		pgtest.Exec(t, copied, disarm+"UPDATE pipeline.approvals SET approver = 'eve'")
		rewrite(t, copied, 6, "bob", "eve")
		assert.Equal(t, []int64{6, 8}, bounds(t, verify(copied)), "it lies after the checkpoint that holds")
	})
	t.Run("and the checkpoints deleted", func(t *testing.T) {
		copied := pgtest.Copy(t, address)
		rewrite(t, copied, 5, "ann", "eve")
		pgtest.Exec(t, copied, disarm+"DELETE FROM pipeline.audit_checkpoints")
		assert.Nil(t, verify(copied), "nothing in the database shows it")
		assert.Equal(t, []int64{0, 5}, bounds(t, verify(copied, checkpoints...)))
		assert.Equal(t, []int64{0, 8}, bounds(t, verify(copied, checkpoints[1])))
	})
	t.Run("a checkpoint kept for another record", func(t *testing.T) {
		copied := pgtest.Copy(t, address)
		pgtest.Exec(t, copied, disarm+"UPDATE pipeline.audit_checkpoints SET note = replace(note, '\n9\n', '\n8\n')")
		_, err := open(t, copied, quick).Verify(background, trusted)
		require.ErrorContains(t, err, "invalid signature")
	})
	t.Run("the database of yesterday", func(t *testing.T) {
		old, today := pgtest.Copy(t, address), pgtest.Copy(t, address)
		now := open(t, today, quick)
		require.NoError(t, now.RecordKey(background, "ann", KeyAdded, "k"))
		shown, err := now.Sign(background, signer)
		require.NoError(t, err)
		assert.Nil(t, verify(old), "by itself it is whole")
		assert.Equal(t, []int64{11, 11}, bounds(t, verify(old, shown)))
		back := open(t, old, quick)
		require.NoError(t, back.RecordKey(background, "eve", KeyAdded, "k"))
		assert.Equal(t, []int64{9, 11}, bounds(t, verify(old, shown)), "also when it was used again")
	})
	t.Run("a database made anew", func(t *testing.T) {
		other, _ := fresh(t)
		_, err := other.Verify(background, trusted, checkpoints[0])
		require.ErrorContains(t, err, "another database, or one that was made anew")
	})
}

func bounds(t *testing.T, e *TamperError) []int64 {
	t.Helper()
	require.NotNil(t, e)
	return []int64{e.First, e.Last}
}

func TestNothingIsAppendedToALogWithoutItsEnd(t *testing.T) {
	for name, sql := range map[string]string{
		"a record gone": "DELETE FROM pipeline.audit_records WHERE index = 10",
		"a hash gone":   "DELETE FROM pipeline.audit_hashes WHERE index IN (7, 14, 17)",
	} {
		l, address, _, _, _ := full(t)
		pgtest.Exec(t, address, "BEGIN;"+disarm+sql+";COMMIT")
		err := l.RecordKey(background, "ann", KeyAdded, "k")
		var tampered *TamperError
		require.ErrorAs(t, err, &tampered, name)
		require.NotErrorIs(t, err, ErrUnreachable)
	}
}

func TestAppendOnlyTablesRefuseChanges(t *testing.T) {
	_, address, _, _, _ := full(t)
	for _, table := range []string{"audit_records", "audit_hashes", "audit_checkpoints", "transitions", "approvals", "verdicts"} {
		for _, sql := range []string{"DELETE FROM pipeline.%s", "TRUNCATE pipeline.%s CASCADE", "UPDATE pipeline.%s t SET " +
			map[string]string{"audit_records": "record = ''", "audit_hashes": "hash = ''", "audit_checkpoints": "note = ''", "transitions": "detail = ''", "approvals": "approver = ''", "verdicts": "floor = ''"}[table]} {
			_, err := pgtest.Session(t, address).Exec(background, fmt.Sprintf(sql, table))
			assert.ErrorContains(t, err, "is append-only", table)
		}
	}
}

func TestProofs(t *testing.T) {
	l, _, signer, trusted, checkpoints := full(t)
	signed, err := l.Sign(background, signer)
	require.NoError(t, err)
	now, err := OpenCheckpoint(signed, trusted)
	require.NoError(t, err)
	before, err := OpenCheckpoint(checkpoints[0], trusted)
	require.NoError(t, err)
	for index := range now.N {
		record, proof, err := l.Inclusion(background, now.N, index)
		require.NoError(t, err)
		require.NoError(t, tlog.CheckRecord(proof, now.N, now.Hash, index, tlog.RecordHash(record)))
		require.Error(t, tlog.CheckRecord(proof, now.N, now.Hash, index, tlog.RecordHash(append(record, ' '))))
	}
	proof, err := l.Consistency(background, now.N, before.N)
	require.NoError(t, err)
	require.NoError(t, tlog.CheckTree(proof, now.N, now.Hash, before.N, before.Hash))
	require.Error(t, tlog.CheckTree(proof, now.N, now.Hash, before.N, now.Hash))
	_, _, err = l.Inclusion(background, now.N, now.N)
	require.ErrorContains(t, err, "there is no record 11 among the first 11")
	_, err = l.Consistency(background, 3, 4)
	require.Error(t, err)
}

func TestSigningAnEmptyLogIsRefused(t *testing.T) {
	l, _ := fresh(t)
	signer, _ := key(t)
	_, err := l.Sign(background, signer)
	require.ErrorContains(t, err, "the audit log is empty")
}

func TestLogLongerThanABatch(t *testing.T) {
	l, address := fresh(t)
	var f frontier
	var records, hashes strings.Builder
	at := 0
	for i := range int64(2*batch + 1) {
		text, err := Record{Index: i, At: noon, Kind: KeyRecord}.encode()
		require.NoError(t, err)
		fmt.Fprintf(&records, "(%d, '%s', 'r%d'),", i, text, i)
		for _, h := range f.add(tlog.RecordHash(text)) {
			fmt.Fprintf(&hashes, "(%d, '\\x%x'),", at, h[:])
			at++
		}
	}
	pgtest.Exec(t, address, "INSERT INTO pipeline.audit_records VALUES "+strings.TrimSuffix(records.String(), ",")+
		"; INSERT INTO pipeline.audit_hashes VALUES "+strings.TrimSuffix(hashes.String(), ","))
	sound(t, l, 2*batch+1)
	require.NoError(t, l.RecordKey(background, "ann", KeyAdded, "k"))
	sound(t, l, 2*batch+2)
	pgtest.Exec(t, address, disarm+fmt.Sprintf("DELETE FROM pipeline.audit_records WHERE index = %d", batch))
	_, err := l.Verify(background, note.VerifierList())
	var tampered *TamperError
	require.ErrorAs(t, err, &tampered)
	assert.EqualValues(t, batch, tampered.First)
	require.ErrorAs(t, l.Export(background, &bytes.Buffer{}, nil), &tampered)
}
