package haproxy

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/metaextract/pipeline/deploy/router"
)

// recordFormat is a request that ended, as HAProxy writes it: words, and the path at last. What is not there is "-". Times
// are microseconds since 1970; HAProxy's own timers count milliseconds.
const recordFormat = "%[var(txn.at)] %[var(txn.first)] %[date(0,us)] %[var(txn.slot)] %[var(txn.about),field(1,|)] %[var(txn.about),field(2,|)] %b/%s %ST %ts %HM " +
	"%[var(txn.digest),bytes(8,8),hex] %[var(txn.streamed)] %[var(txn.rule),word(2,:)] %HPO"

// line is a record and where it belongs.
type line struct {
	stream  string
	path    string // as the client sent it
	method  string
	outcome outcome
	router.Record
}

// outcome is how a request ended, in the words of router.SlotStatus.
type outcome int

const (
	answered outcome = iota
	badGateway
	gatewayTimeout
	truncated
	aborted
	refused
)

// parse reads a record. ok is false for a request that reached no application: it has no slot, or none of the slot's
// components served its path.
func parse(text string) (l line, ok bool, err error) {
	words := strings.SplitN(text, " ", 14)
	if len(words) != 14 {
		return l, false, fmt.Errorf("read a record of HAProxy: it has %d words, not 14", len(words))
	}
	target, state := words[6], words[8]
	backend, server, _ := strings.Cut(target, "/")
	if !strings.HasPrefix(backend, words[3]+".") {
		return l, false, nil
	}
	var times [3]int64
	for i, word := range words[:3] {
		if i == 1 && word == "-" {
			continue
		}
		if times[i], err = strconv.ParseInt(word, 10, 64); err != nil {
			return l, false, fmt.Errorf("read a record of HAProxy: %q is no time", word)
		}
	}
	weight, err := strconv.Atoi(words[5])
	if err != nil {
		return l, false, fmt.Errorf("read a record of HAProxy: %q is no weight", words[5])
	}
	status, err := strconv.Atoi(words[7])
	if err != nil || len(state) != 2 {
		return l, false, fmt.Errorf("read a record of HAProxy: it ended with %q and %q", words[7], state)
	}
	l = line{stream: words[4], path: words[13], method: words[9]}
	end := max(0, times[2]-times[0])
	l.Record = router.Record{
		Time: time.UnixMicro(times[0]).UTC(), Status: max(status, 0), FirstByte: end, End: end, By: router.ByChance,
		Streamed: words[11] == "1" || status == http.StatusSwitchingProtocols, Weight: weight,
	}
	if times[1] != 0 {
		l.FirstByte = min(max(0, times[1]-times[0]), end)
	}
	if words[10] != "-" {
		l.Cohort = strings.ToLower(words[10])
	}
	if words[12] != "-" {
		l.Rule, l.By = words[12], router.ByRule
	}
	l.outcome = judge(state, times[1] != 0, l.Status)
	if server == apology && l.outcome == answered {
		l.outcome = badGateway
	}
	if l.outcome == aborted && times[1] == 0 {
		l.Status = statusClientClosed
	}
	l.Class = class(l.outcome, l.Status)
	return l, true, nil
}

// apology is the server that answers where the application did not.
const apology = "apology"

// statusClientClosed is what records say of a client that went away before there was an answer, as nginx does.
const statusClientClosed = 499

// judge reads HAProxy's termination state (configuration.txt section 8.5): who ended the session, and in which phase.
// began is whether the application's answer had begun.
func judge(state string, began bool, status int) outcome {
	who, phase := state[0], state[1]
	switch {
	case who == '-', status == http.StatusSwitchingProtocols:
		return answered // a conversation ends when one of the two leaves
	case who == 'C':
		return aborted
	case who == 'c' && status == 408 && !began:
		return refused
	case who == 'c':
		return aborted
	case began:
		return truncated
	case who == 's' && phase != 'C':
		return gatewayTimeout
	default:
		return badGateway // S refused or closed, s did not accept, P an answer that is none, R and I of HAProxy's own
	}
}

func class(o outcome, status int) router.Class {
	switch {
	case o == truncated, o == answered && status >= 500:
		return router.AppError
	case o == badGateway, o == gatewayTimeout:
		return router.RouterMade
	case o == aborted, o == refused:
		return router.ClientAbort
	default:
		return router.OK
	}
}
