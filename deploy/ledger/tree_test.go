package ledger

import (
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/mod/sumdb/tlog"
)

// naive is the tree's root as RFC 6962 section 2.1 defines it.
func naive(records [][]byte) tlog.Hash {
	switch len(records) {
	case 0:
		return sha256.Sum256(nil)
	case 1:
		return sha256.Sum256(append([]byte{0}, records[0]...))
	}
	k := 1
	for 2*k < len(records) {
		k *= 2
	}
	left, right := naive(records[:k]), naive(records[k:])
	return sha256.Sum256(append(append([]byte{1}, left[:]...), right[:]...))
}

func TestTreeIsThatOfRFC6962(t *testing.T) {
	var f frontier
	var records [][]byte
	var stored []tlog.Hash
	reader := tlog.HashReaderFunc(func(indexes []int64) (found []tlog.Hash, _ error) {
		for _, i := range indexes {
			found = append(found, stored[i])
		}
		return found, nil
	})
	random := rand.New(rand.NewPCG(1, 2))
	for n := range int64(300) {
		assert.Equal(t, naive(records), f.root(), "%d records", n)
		record := fmt.Appendf(nil, "%x", random.Uint64())
		theirs, err := tlog.StoredHashes(n, record, reader)
		require.NoError(t, err)
		ours := f.add(tlog.RecordHash(record))
		require.Equal(t, theirs, ours, "stored with record %d", n)
		require.Equal(t, tlog.StoredHashIndex(0, n), int64(len(stored)))
		records, stored = append(records, record), append(stored, ours...)
	}
}
