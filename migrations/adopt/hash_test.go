package adopt

import (
	"bytes"
	"crypto/md5"
	"crypto/sha1"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestSumsOfRunnersAreUnderstood(t *testing.T) {
	body := []byte("SELECT 1;\n")
	of := hex.EncodeToString
	one, two := sha1.Sum(body), md5.Sum(body)
	tests := []struct {
		name   string
		sum    sum
		stored string
		want   likeness
	}{
		{"SHA-256 in capitals", sha256Sum, strings.ToUpper(sha256Hex(body)), same},
		{"SHA-256 of something else", sha256Sum, sha256Hex([]byte("x")), different},
		{"no SHA-256", sha256Sum, "manual", unknown},
		{"nothing stored", sha256Sum, "", unknown},
		{"no sum known", nil, sha256Hex(body), unknown},
		{"SHA-1", anySum, of(one[:]), same},
		{"MD5", anySum, of(two[:]), same},
		{"MD5 of something else", anySum, strings.Repeat("0", 32), different},
		{"as long as no sum", anySum, "abcd", unknown},
		{"no number of Flyway's", flywaySum, "12345678901", unknown},
		{"Prisma's, complete", prismaSum, sha256Hex(body), same},
		{"no sum of Prisma's", prismaSum, strings.Repeat("z", 63), unknown},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			assert.Equal(t, tt.want, compare(tt.sum, body, tt.stored))
		})
	}
}

func TestFlywaysSumIsOfLines(t *testing.T) {
	const stored = "1420201952" // CRC-32 of the lines, none between them
	for _, body := range []string{"CREATE TABLE a (  id int);", "\ufeffCREATE TABLE a (\r\n  id int\n);", "CREATE TABLE a (\r  id int);\n"} {
		assert.Equal(t, same, compare(flywaySum, []byte(body), stored), body)
	}
	assert.Equal(t, different, compare(flywaySum, []byte("CREATE TABLE a ( id int);"), stored))
}

func TestPrismasOldSumsLackZeros(t *testing.T) {
	for i := range 1000 { // until a sum has a byte below 16
		body := fmt.Appendf(nil, "SELECT %d", i)
		old := ""
		raw, err := hex.DecodeString(sha256Hex(body))
		require.NoError(t, err)
		for _, b := range raw {
			old += fmt.Sprintf("%x", b)
		}
		if len(old) == 64 {
			continue
		}
		assert.Equal(t, same, compare(prismaSum, body, old))
		assert.Equal(t, different, compare(prismaSum, []byte("SELECT"), old))
		return
	}
	t.Fatal("no sum with a byte below 16")
}

// What git and editors do to the ends of lines is no edit; what anybody does to the lines is.
func TestLineEndsAreNoEdit(t *testing.T) {
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 1))
		var lines []string
		for range 1 + r.IntN(5) {
			lines = append(lines, strings.Repeat("x", r.IntN(4))+"y")
		}
		ends := []string{"\n", "\r\n"}
		last := []string{"", "\n", "\r\n"}
		write := func() []byte {
			return []byte(strings.Join(lines, ends[r.IntN(2)]) + last[r.IntN(3)])
		}
		one, two := write(), write()
		want := sameText
		if bytes.Equal(one, two) {
			want = same
		}
		require.Equal(t, want, compare(sha256Sum, one, sha256Hex(two)), "seed %d: %q, %q", seed, one, two)
		lines[r.IntN(len(lines))] += "z"
		require.Equal(t, different, compare(sha256Sum, write(), sha256Hex(two)), "seed %d", seed)
	}
}
