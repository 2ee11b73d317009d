package ledger

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// exported is the log of full, as lines.
func exported(t testing.TB) (lines []string, trusted note.Verifiers, checkpoints []string) {
	l, _, signer, trusted, checkpoints := full(t)
	var file bytes.Buffer
	require.NoError(t, l.Export(background, &file, signer))
	result, err := VerifyExport(bytes.NewReader(file.Bytes()), trusted, checkpoints...)
	require.NoError(t, err)
	live, err := l.Verify(background, trusted)
	require.NoError(t, err)
	live.Signed = 11
	assert.Equal(t, live, result)
	return strings.SplitAfter(file.String(), "\n"), trusted, checkpoints
}

func TestExportIsVerifiedWithoutTheDatabase(t *testing.T) {
	lines, trusted, checkpoints := exported(t)
	require.Len(t, lines, 13)
	replace := func(line int, from, to string) func([]string) []string {
		return func(l []string) []string { l[line] = strings.Replace(l[line], from, to, 1); return l }
	}
	cases := map[string]struct {
		change      func(lines []string) []string
		first, last int64
		says        string
	}{
		"a record removed":   {func(l []string) []string { return append(l[:5], l[6:]...) }, 4, 4, "line 6: "},
		"records exchanged":  {func(l []string) []string { l[3], l[4] = l[4], l[3]; return l }, 2, 2, "record 3 is in its place"},
		"a record twice":     {func(l []string) []string { l[4] = l[3]; return l }, 3, 3, "record 2 is in its place"},
		"the end cut off":    {func(l []string) []string { return l[:11] }, 10, 10, "a checkpoint was signed for 11 records"},
		"all of it cut off":  {func(l []string) []string { return l[:1] }, 0, 0, "a checkpoint was signed for 11 records"},
		"a line cut in half": {func(l []string) []string { l[11] = l[11][:20]; return l[:12] }, 10, 10, "line 12: "},
		"another space":      {replace(4, ":", ": "), 3, 3, "not in the form"},
		"an approver edited": {replace(7, "bob", "eve"), 6, 8, "not those that the checkpoint was signed for"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			text := strings.Join(c.change(append([]string{}, lines...)), "")
			_, err := VerifyExport(strings.NewReader(text), trusted)
			var tampered *TamperError
			require.ErrorAs(t, err, &tampered)
			assert.Equal(t, []int64{c.first, c.last}, bounds(t, tampered))
			assert.ErrorContains(t, err, c.says)
		})
	}
	t.Run("cut off with its checkpoints", func(t *testing.T) {
		text := strings.Join(lines[:4], "")
		head := text[:strings.Index(text, `"size"`)] + `"size":3,"checkpoints":[]}` + text[strings.Index(text, "\n"):]
		result, err := VerifyExport(strings.NewReader(head), trusted)
		require.NoError(t, err)
		assert.Zero(t, result.Signed, "and says that nothing vouches for it")
		_, err = VerifyExport(strings.NewReader(head), trusted, checkpoints[0])
		require.ErrorContains(t, err, "a checkpoint was signed for 6 records")
	})
	for name, text := range map[string]string{
		"an empty file":     "",
		"another file":      "hello\n",
		"another form":      `{"format":"pipeline-audit-2"}`,
		"a line of 20 MB":   lines[0] + strings.Repeat("x", 20<<20),
		"an unknown key":    strings.Replace(lines[0], `"size"`, `"sizes"`, 1),
		"a strange key":     strings.ReplaceAll(lines[0], "ledger.test", "ledger.evil"),
		"another signature": strings.ReplaceAll(lines[0], "ledger.test ", "ledger.test AAAA"),
	} {
		t.Run(name, func(t *testing.T) {
			_, err := VerifyExport(strings.NewReader(text), trusted)
			require.ErrorContains(t, err, "verify export: ")
		})
	}
}

// made is an export of eleven records, signed after nine and at its end, that is the same in every process that fuzzes.
func made(t testing.TB) (lines []string, trusted note.Verifiers, checkpoints []string) {
	seed := bytes.Repeat([]byte{7}, ed25519.SeedSize)
	public, err := note.NewEd25519VerifierKey("ledger.test", ed25519.NewKeyFromSeed(seed).Public().(ed25519.PublicKey))
	require.NoError(t, err)
	verifier, err := note.NewVerifier(public)
	require.NoError(t, err)
	signer, err := note.NewSigner(fmt.Sprintf("PRIVATE+KEY+ledger.test+%08x+%s", verifier.KeyHash(), base64.StdEncoding.EncodeToString(append([]byte{1}, seed...))))
	require.NoError(t, err)
	var f frontier
	for i := range int64(11) {
		text, err := Record{Index: i, At: noon, Kind: KeyRecord, Facts: map[string]string{"n": fmt.Sprint(i)}}.encode()
		require.NoError(t, err)
		f.add(tlog.RecordHash(text))
		lines = append(lines, string(text)+"\n")
		if f.size == 9 || f.size == 11 {
			signed, err := note.Sign(&note.Note{Text: Checkpoint{Ledger: "x", Tree: tlog.Tree{N: f.size, Hash: f.root()}}.text()}, signer)
			require.NoError(t, err)
			checkpoints = append(checkpoints, string(signed))
		}
	}
	head, err := json.Marshal(exportHead{Format: exportFormat, Ledger: "x", Size: 11, Checkpoints: checkpoints})
	require.NoError(t, err)
	return append([]string{string(head) + "\n"}, lines...), note.VerifierList(verifier), checkpoints
}

// FuzzVerifyExport lets no change of what was signed pass.
func FuzzVerifyExport(f *testing.F) {
	lines, trusted, checkpoints := made(f)
	whole := strings.Join(lines, "")
	result, err := VerifyExport(strings.NewReader(whole), trusted, checkpoints...)
	require.NoError(f, err)
	require.Equal(f, int64(11), result.Signed)
	f.Add([]byte(whole))
	f.Add([]byte(strings.Join(lines[:5], "")))
	f.Add([]byte(lines[0]))
	f.Fuzz(func(t *testing.T, text []byte) {
		result, err := VerifyExport(bytes.NewReader(text), trusted, checkpoints[0])
		if err != nil {
			var tampered *TamperError
			if errors.As(err, &tampered) {
				require.LessOrEqual(t, tampered.First, tampered.Last)
			}
			return
		}
		_, records, _ := strings.Cut(string(text), "\n")
		require.GreaterOrEqual(t, result.Size, int64(9))
		require.True(t, strings.HasPrefix(strings.ReplaceAll(records, "\r\n", "\n")+"\n", strings.Join(lines[1:10], "")))
	})
}

func FuzzParseCheckpoint(f *testing.F) {
	f.Add("pipeline-ledger/x\n3\n4pZ0dcBD6ZrHMVJ6Dj3Q9kJjU8zn6p0TTFrXhHWvK3A=\n")
	f.Fuzz(func(t *testing.T, text string) {
		if c, err := parseCheckpoint(text); err == nil {
			require.Equal(t, text, c.text())
			require.Positive(t, c.N)
		}
	})
}
