package host

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/metaextract/pipeline/ci"
)

func TestShortLogIsKeptWhole(t *testing.T) {
	for _, size := range []int{0, 1, logHead - 1, logHead, logHead + 1, logHead + logTail} {
		data := bytes.Repeat([]byte("x"), size)
		var log cappedLog
		_, _ = log.Write(data)
		assert.Equal(t, len(data), len(log.bytes()), size)
	}
}

func TestLongLogKeepsItsBeginningAndItsEnd(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 10 {
		total := logHead + logTail + 1 + random.IntN(3*logTail)
		data := make([]byte, total)
		for i := 0; i < total; i += 1 + random.IntN(64) {
			data[i] = 'a' + byte(random.IntN(26))
		}
		var log cappedLog
		for rest := data; len(rest) > 0; {
			n := min(1+random.IntN(2*logTail), len(rest))
			_, _ = log.Write(rest[:n])
			rest = rest[n:]
		}
		got := log.bytes()
		assert.LessOrEqual(t, len(got), ci.MaxLog)
		assert.True(t, bytes.HasPrefix(got, data[:logHead]))
		assert.True(t, bytes.HasSuffix(got, data[total-logTail:]))
		assert.Contains(t, string(got), fmt.Sprintf(" %d bytes of the log were cut ", total-logHead-logTail))
	}
}

func TestLinesOfStepsAreNotMixed(t *testing.T) {
	var out bytes.Buffer
	log := newLineLog(&out)
	var wait sync.WaitGroup
	for _, name := range []string{"a", "b"} {
		wait.Go(func() {
			lines := log.step(name)
			for range 200 {
				_, _ = lines.Write([]byte("one li"))
				_, _ = lines.Write([]byte("ne\ntwo\n"))
			}
			_, _ = lines.Write([]byte("end"))
			lines.close()
		})
	}
	wait.Wait()
	count := map[string]int{}
	for line := range strings.Lines(out.String()) {
		count[line]++
	}
	assert.Equal(t, map[string]int{
		"a | one line\n": 200, "a | two\n": 200, "a | end\n": 1, "b | one line\n": 200, "b | two\n": 200, "b | end\n": 1,
	}, count)
}
