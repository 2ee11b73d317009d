package main

import (
	"slices"
	"time"
)

// wait is how long somebody waited for an answer: from when it was asked for, or was to be.
type wait struct{ start, end time.Time }

func (w wait) length() time.Duration { return w.end.Sub(w.start) }

// within are those of the waits that overlap a time.
func within(waits []wait, start, end time.Time) []wait {
	return slices.DeleteFunc(slices.Clone(waits), func(w wait) bool { return w.end.Before(start) || w.start.After(end) })
}

// lengths are in milliseconds.
func lengths(waits []wait) []float64 {
	var ms []float64
	for _, w := range waits {
		ms = append(ms, float64(w.length().Microseconds())/1000)
	}
	return ms
}

// asked are the lengths, in milliseconds, of the waits of all who would have come: a client that waits for its answer does
// not ask meanwhile, but users do not wait for each other. Who would have come every so often has waited for what was left
// (HdrHistogram's correction for coordinated omission, recordValueWithExpectedInterval).
func asked(waits []wait) []float64 {
	var ms []float64
	step := float64(probeEvery.Microseconds()) / 1000
	for _, length := range lengths(waits) {
		ms = append(ms, length)
		for length -= step; length >= step; length -= step {
			ms = append(ms, length)
		}
	}
	return ms
}
