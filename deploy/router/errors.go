package router

import (
	"fmt"

	"github.com/metaextract/pipeline/deploy"
)

// Reason says whose mistake an Error is.
type Reason string

// The reasons.
const (
	Invalid  Reason = "invalid"  // the request can never work
	Unknown  Reason = "unknown"  // there is no such slot
	Conflict Reason = "conflict" // it would work in another state of the router
)

// Error is a change that the router refused; nothing was changed. It crosses the control socket as it is.
type Error struct {
	Reason Reason `json:"reason"`
	What   string `json:"error"`
	Do     string `json:"do"`
}

func (e *Error) Error() string { return e.What + "; " + e.Do }

func invalid(what, do string) error  { return &Error{Reason: Invalid, What: what, Do: do} }
func conflict(what, do string) error { return &Error{Reason: Conflict, What: what, Do: do} }

func unknown(slot deploy.Slot) error {
	return &Error{Reason: Unknown, What: fmt.Sprintf("slot %s is not registered", slot), Do: "register an instance in it first"}
}
