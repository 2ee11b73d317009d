package ledger

import (
	"math/bits"

	"golang.org/x/mod/sumdb/tlog"
)

// frontier is the tree over the records so far, as far as the next one needs it: the roots of its complete subtrees, the
// largest first, of which there are at most 63 (RFC 6962 section 2.1: the left subtree is the largest power of two).
type frontier struct {
	size  int64
	roots []tlog.Hash
}

// add appends a record's hash. It returns the hashes that this completes, in the order of tlog.StoredHashIndex: the
// record's, then that of each subtree that it is the last of.
func (f *frontier) add(leaf tlog.Hash) []tlog.Hash {
	stored := []tlog.Hash{leaf}
	for range bits.TrailingZeros64(uint64(f.size + 1)) {
		last := len(f.roots) - 1
		leaf = tlog.NodeHash(f.roots[last], leaf)
		f.roots = f.roots[:last]
		stored = append(stored, leaf)
	}
	f.roots = append(f.roots, leaf)
	f.size++
	return stored
}

// root is the tree's.
func (f *frontier) root() tlog.Hash {
	if f.size == 0 {
		empty, _ := tlog.TreeHash(0, nil)
		return empty
	}
	root := f.roots[len(f.roots)-1]
	for i := len(f.roots) - 2; i >= 0; i-- {
		root = tlog.NodeHash(f.roots[i], root)
	}
	return root
}
