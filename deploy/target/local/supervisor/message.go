package supervisor

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
	"time"

	"github.com/metaextract/pipeline/deploy"
)

// version is the protocol's, as a path.
const version = "/v1"

// maxMessage bounds a request and an answer. The tail of a log has 64 KiB.
const maxMessage = 4 << 20

// shortestSecret is the length below which a text is a secret only where it is all of a value: as in internal/redact.
const shortestSecret = 3

// startMessage asks for a start. It is kept as long as the slot is used.
type startMessage struct {
	// Token tells this start from any other.
	Token   string            `json:"token"`
	Release deploy.Release    `json:"release"`
	Env     []string          `json:"env,omitempty"`
	Secrets map[string]string `json:"secrets,omitempty"` // by the name of the variable
	Memory  map[string]int64  `json:"memory,omitempty"`  // bytes, by component
}

// secret says whether a value holds one of the secrets.
func (m *startMessage) secret(value string) bool {
	for _, secret := range m.Secrets {
		if secret != "" && (value == secret || len(secret) >= shortestSecret && strings.Contains(value, secret)) {
			return true
		}
	}
	return false
}

// check refuses what would put a secret where others see it.
func (m *startMessage) check() error {
	if m.Token == "" {
		return invalid("the start has no token")
	}
	seen := map[string]bool{}
	for _, u := range m.Release.Units {
		if u.Component == "" || seen[u.Component] {
			return invalid("component %q is there twice or has no name", u.Component)
		}
		seen[u.Component] = true
		for _, word := range u.Command {
			if m.secret(word) {
				return invalid("the command of component %s holds a secret's value, which every user of the machine could read "+
					"in the process list; let the program read it from its environment", u.Component)
			}
		}
	}
	return nil
}

type startedMessage struct {
	Endpoints map[string]string `json:"endpoints"`
}

type problemMessage struct {
	Problem string `json:"problem"` // empty: none
}

type stopMessage struct {
	Milliseconds int64  `json:"limit_ms,omitempty"` // until what is left is killed; 0 is as long as the units may take
	Token        string `json:"token,omitempty"`
}

type restoreMessage struct {
	Secrets map[string]string `json:"secrets"`
}

type endedMessage struct {
	Ended []string `json:"ended"`
}

// Status is how an environment is doing.
type Status struct {
	Version string       `json:"version"` // of the supervisor's program
	PID     int          `json:"pid"`
	Keeper  int          `json:"keeper,omitempty"` // the process id of its keeper
	UpMS    int64        `json:"up_ms"`
	Router  *UnitStatus  `json:"router,omitempty"` // its URL is where the traffic comes
	Slots   []SlotStatus `json:"slots"`
}

// SlotStatus is what is in a slot that is used.
type SlotStatus struct {
	Slot    deploy.Slot  `json:"slot"`
	Phase   string       `json:"phase"` // starting, running, stopping, lost
	Release string       `json:"release"`
	Problem string       `json:"problem,omitempty"` // why it is lost
	Units   []UnitStatus `json:"units"`
}

// UnitStatus is how a program is doing.
type UnitStatus struct {
	Component string `json:"component"`
	URL       string `json:"url"`
	PID       int    `json:"pid,omitempty"` // none while it is down, and for static files
	UpMS      int64  `json:"up_ms"`         // or down
	Ends      int    `json:"ends"`          // how often it has ended and was started again
	Problem   string `json:"problem,omitempty"`
	Processes int    `json:"processes"`
	// ResidentBytes is what top shows, MemoryBytes what a limit is held against: pages that are shared count in parts.
	ResidentBytes int64 `json:"resident_bytes"`
	MemoryBytes   int64 `json:"memory_bytes"`
	CPUMS         int64 `json:"cpu_ms"`
}

// Reason says what kind of refusal an Error is.
type Reason string

// The reasons for which a request is refused.
const (
	Invalid  Reason = "invalid"  // it can never be done
	Conflict Reason = "conflict" // not as things are now
)

// Error is what the supervisor refused, or what went wrong there where there is no reason.
type Error struct {
	Reason Reason `json:"reason,omitempty"`
	What   string `json:"error"`
}

func (e *Error) Error() string { return e.What }

func invalid(format string, args ...any) error {
	return &Error{Reason: Invalid, What: fmt.Sprintf(format, args...)}
}

func conflict(format string, args ...any) error {
	return &Error{Reason: Conflict, What: fmt.Sprintf(format, args...)}
}

// slotName is what can be part of a file's name.
var slotName = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,31}$`)

func checkSlot(name deploy.Slot) error {
	if !slotName.MatchString(string(name)) {
		return invalid("%q is no name for a slot: use blue or green", name)
	}
	return nil
}

// decode reads exactly one JSON value of a known shape. A key that is not known is of another version: half of what was
// meant would be done.
func decode(body io.Reader, into any) error {
	data, err := io.ReadAll(io.LimitReader(body, maxMessage+1))
	if err != nil {
		return err
	}
	if len(data) > maxMessage {
		return invalid("the request is over 4 MiB")
	}
	if len(bytes.TrimSpace(data)) == 0 {
		return nil
	}
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(into); err != nil {
		return invalid("the request is not what the supervisor reads: %s; is it of another version?", shape(err))
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return invalid("the request has more than one JSON value")
	}
	return nil
}

// shape is what is wrong with JSON, without a value of it, which may be a secret.
func shape(err error) string {
	var kind *json.UnmarshalTypeError
	if errors.As(err, &kind) {
		return fmt.Sprintf("%s must be %s", kind.Field, kind.Type)
	}
	return err.Error()
}

// maxLimit keeps a limit from overflowing a time.Duration.
const maxLimit = 24 * time.Hour

func (m stopMessage) limit() (time.Duration, error) {
	if m.Milliseconds < 0 || m.Milliseconds > maxLimit.Milliseconds() {
		return 0, invalid("limit_ms is %d: give 0 to %d", m.Milliseconds, maxLimit.Milliseconds())
	}
	return time.Duration(m.Milliseconds) * time.Millisecond, nil
}
