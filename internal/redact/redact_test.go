package redact

import (
	"bytes"
	"encoding/base64"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestSecretsAreMaskedInEveryForm(t *testing.T) {
	const secret = `p@ss "word"/1`
	for name, text := range map[string]string{
		"plain":  secret,
		"JSON":   `p@ss \"word\"/1`,
		"query":  "p%40ss+%22word%22%2F1",
		"path":   "p@ss%20%22word%22%2F1",
		"base64": base64.StdEncoding.EncodeToString([]byte(secret)),
	} {
		t.Run(name, func(t *testing.T) {
			assert.Equal(t, "before *** after", string(Of(secret).Bytes([]byte("before "+text+" after"))))
		})
	}
}

func TestSecretsOfSeveralLinesAreMaskedLineByLine(t *testing.T) {
	r := Of("-----BEGIN KEY-----\nMIIEvQIBADANBg\n}\n")
	assert.Equal(t, "key: ***", string(r.Bytes([]byte("key: MIIEvQIBADANBg"))))
	assert.Equal(t, "{}", string(r.Bytes([]byte("{}"))), "a line that is too short to be secret stays")
}

func TestTheLongerOfTwoSecretsIsMaskedWhole(t *testing.T) {
	assert.Equal(t, "*** ***", string(Of("abc", "abcdef").Bytes([]byte("abcdef abc"))))
	assert.Equal(t, "***abd", string(Of("abc", "abcabx").Bytes([]byte("abcabd"))), "what looked like the longer one was the shorter one")
}

func TestValuesThatAreTooShortAreNoSecrets(t *testing.T) {
	assert.Equal(t, "1 of 10", string(Of("1", "", "10").Bytes([]byte("1 of 10"))))
}

func TestTextIsPassedOnAsSoonAsItCannotBeASecret(t *testing.T) {
	var out bytes.Buffer
	w := Of("secret").Writer(&out)
	for _, step := range []struct{ write, want string }{
		{"hello ", "hello "}, {"se", "hello "}, {"cr", "hello "}, {"ap ", "hello secrap "}, {"sec", "hello secrap "}, {"ret", "hello secrap ***"},
	} {
		_, err := w.Write([]byte(step.write))
		require.NoError(t, err)
		assert.Equal(t, step.want, out.String())
	}
	_, _ = w.Write([]byte("se"))
	require.NoError(t, w.Flush())
	assert.Equal(t, "hello secrap ***se", out.String())
}

// However a text is split into writes, the result is the same, and holds no secret.
func FuzzRedact(f *testing.F) {
	f.Add("the password is hunter2hunter2", "hunter2", "word", 5)
	f.Add("aaaaab", "aab", "aaab", 2)
	f.Add("***", "***", "*", 1)
	f.Fuzz(func(t *testing.T, text, one, two string, size int) {
		r := Of(one, two)
		r.Replace("/cache/layers/1/tree", "/src")
		var out bytes.Buffer
		w := r.Writer(&out)
		for rest := []byte(text); len(rest) > 0; {
			n := min(max(size, 1), len(rest))
			_, _ = w.Write(rest[:n])
			rest = rest[n:]
		}
		_ = w.Flush()
		whole := r.Bytes([]byte(text))
		if !bytes.Equal(whole, out.Bytes()) {
			t.Fatalf("split %q, whole %q", out.Bytes(), whole)
		}
		// A mask next to other text could spell a secret only if the secret has a mask's characters in it.
		for _, secret := range []string{one, two} {
			if len(secret) >= shortestSecret && !strings.ContainsAny(secret, "*/src") && strings.Contains(string(whole), secret) {
				t.Fatalf("%q is in %q", secret, whole)
			}
		}
	})
}

func BenchmarkRedactOneMegabyte(b *testing.B) {
	r := Of("a secret of usual length", "another")
	r.Replace("/home/user/.cache/pipeline/layers/0123456789abcdef/tree", "/src")
	data := []byte(strings.Repeat("PASS src/components/upload/__tests__/dropzone.test.tsx (12 ms)\n", 16384))
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		r.Bytes(data)
	}
}
