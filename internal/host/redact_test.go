package host

import (
	"bytes"
	"encoding/base64"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func redactorOf(secrets ...string) *redactor {
	r := &redactor{}
	for _, s := range secrets {
		r.secret(s)
	}
	return r
}

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
			assert.Equal(t, "before *** after", string(redactorOf(secret).bytes([]byte("before "+text+" after"))))
		})
	}
}

func TestSecretsOfSeveralLinesAreMaskedLineByLine(t *testing.T) {
	r := redactorOf("-----BEGIN KEY-----\nMIIEvQIBADANBg\n}\n")
	assert.Equal(t, "key: ***", string(r.bytes([]byte("key: MIIEvQIBADANBg"))))
	assert.Equal(t, "{}", string(r.bytes([]byte("{}"))), "a line that is too short to be secret stays")
}

func TestTheLongerOfTwoSecretsIsMaskedWhole(t *testing.T) {
	assert.Equal(t, "*** ***", string(redactorOf("abc", "abcdef").bytes([]byte("abcdef abc"))))
	assert.Equal(t, "***abd", string(redactorOf("abc", "abcabx").bytes([]byte("abcabd"))), "what looked like the longer one was the shorter one")
}

func TestValuesThatAreTooShortAreNoSecrets(t *testing.T) {
	assert.Equal(t, "1 of 10", string(redactorOf("1", "", "10").bytes([]byte("1 of 10"))))
}

func TestTextIsPassedOnAsSoonAsItCannotBeASecret(t *testing.T) {
	var out bytes.Buffer
	w := redactorOf("secret").writer(&out)
	for _, step := range []struct{ write, want string }{
		{"hello ", "hello "}, {"se", "hello "}, {"cr", "hello "}, {"ap ", "hello secrap "}, {"sec", "hello secrap "}, {"ret", "hello secrap ***"},
	} {
		_, err := w.Write([]byte(step.write))
		require.NoError(t, err)
		assert.Equal(t, step.want, out.String())
	}
	_, _ = w.Write([]byte("se"))
	require.NoError(t, w.flush())
	assert.Equal(t, "hello secrap ***se", out.String())
}

// However a text is split into writes, the result is the same, and holds no secret.
func FuzzRedact(f *testing.F) {
	f.Add("the password is hunter2hunter2", "hunter2", "word", 5)
	f.Add("aaaaab", "aab", "aaab", 2)
	f.Add("***", "***", "*", 1)
	f.Fuzz(func(t *testing.T, text, one, two string, size int) {
		r := redactorOf(one, two)
		r.add("/cache/layers/1/tree", sourceRoot)
		var out bytes.Buffer
		w := r.writer(&out)
		for rest := []byte(text); len(rest) > 0; {
			n := min(max(size, 1), len(rest))
			_, _ = w.Write(rest[:n])
			rest = rest[n:]
		}
		_ = w.flush()
		whole := r.bytes([]byte(text))
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
	r := redactorOf("a secret of usual length", "another")
	r.add("/home/user/.cache/pipeline/layers/0123456789abcdef/tree", sourceRoot)
	data := []byte(strings.Repeat("PASS src/components/upload/__tests__/dropzone.test.tsx (12 ms)\n", 16384))
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		r.bytes(data)
	}
}
