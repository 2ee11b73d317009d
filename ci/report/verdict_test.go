package report

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestTheExitCodeOfEveryVerdict(t *testing.T) {
	for verdict, want := range map[Verdict]int{
		Proven:    0,
		Refused:   1,
		Broken:    3,
		"":        3, // a run that never came to a verdict
		"unheard": 3,
	} {
		assert.Equal(t, want, ExitCode(verdict), "verdict %q", verdict)
	}
}

func TestTheHeadlineSaysWhatTheVerdictMeans(t *testing.T) {
	for want, r := range map[string]*Report{
		"PROVEN: metaextract 1.5.0 can be released":        {Verdict: Proven, Command: "rehearse", Application: "metaextract", Release: "1.5.0"},
		"REFUSED: metaextract 1.5.0 must not be released":  {Verdict: Refused, Command: "rehearse", Application: "metaextract", Release: "1.5.0"},
		"BROKEN: nothing is known about metaextract 1.5.0": {Verdict: Broken, Command: "rehearse", Application: "metaextract", Release: "1.5.0"},
		"PROVEN: metaextract: check passed":                {Verdict: Proven, Command: "check", Application: "metaextract"},
		"REFUSED: metaextract: test failed":                {Verdict: Refused, Command: "test", Application: "metaextract"},
		"BROKEN: nothing is known about this release":      {},
		"REFUSED: this release must not be released":       {Verdict: Refused},
	} {
		assert.Equal(t, want, r.Headline())
	}
}
