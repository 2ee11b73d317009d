package report

// The exit codes of a run. Code 2 is the command line's own: wrong usage or configuration.
const (
	exitProven  = 0
	exitRefused = 1
	exitBroken  = 3
)

// ExitCode is the exit code of a process that ends with this verdict: 0 proven, 1 refused, 3 broken.
// A verdict that is none of these says nothing about the release, so it is 3 too.
func ExitCode(v Verdict) int {
	switch v {
	case Proven:
		return exitProven
	case Refused:
		return exitRefused
	default:
		return exitBroken
	}
}

// word is the verdict as the first word a reader sees.
func (v Verdict) word() string {
	switch v {
	case Proven:
		return "PROVEN"
	case Refused:
		return "REFUSED"
	default:
		return "BROKEN"
	}
}
