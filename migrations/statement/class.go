package statement

// Class says what a statement means for the release that runs while it is applied.
type Class string

// The classes. The table in the package's comment says which statement is which.
const (
	Expand   Class = "expand"   // additive: old code works on
	Backfill Class = "backfill" // changes rows
	Contract Class = "contract" // removes, renames or tightens what old code may use
	Neutral  Class = "neutral"  // neither
)

// rank orders classes: a statement of several steps is its highest.
var rank = map[Class]int{Neutral: 0, Expand: 1, Backfill: 2, Contract: 3}
