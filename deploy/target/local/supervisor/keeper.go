package supervisor

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/metaextract/pipeline/deploy"
	"github.com/metaextract/pipeline/internal/process"
)

// KeptFlag is added to the command line of a supervisor that has a keeper: it calls Run with RunOptions.Kept.
const KeptFlag = "--kept"

// keptStop is SIGTERM to SIGKILL for a supervisor. The signal comes again after half of it, which makes a program end at
// once: that is after endGrace.
const keptStop = 2*endGrace + time.Minute

// Keep is the process that a release launches: it runs a supervisor, as a process of this command line with KeptFlag added,
// and when that is killed another one, which starts everything anew. Secrets that no file may hold are in its memory until
// then. It does nothing else, so that there is little that could end it.
//
// It returns when the supervisor has ended as it should: by ctx, by a down, or because another one serves; and with an
// error where the first one could not start, or the environment's directory is gone. When it is killed itself the
// supervisor ends with it.
func Keep(ctx context.Context, dir string, command []string) error {
	k := &keeper{starts: map[deploy.Slot]startMessage{}}
	delay := process.DefaultBackoff.First
	for {
		began := time.Now()
		p, err := process.Start(context.WithoutCancel(ctx), process.Spec{
			Args: slices.Concat(command, []string{KeptFlag}), Dir: "/", Stdin: k.memory(), Stdout: k, Stderr: os.Stderr,
		})
		if err == nil {
			err = k.hold(ctx, p)
		}
		if err == nil || ctx.Err() != nil || !k.hasServed() {
			return err
		}
		if time.Since(began) >= process.DefaultBackoff.Reset {
			delay = process.DefaultBackoff.First
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(delay):
		}
		if _, gone := os.Stat(dir); errors.Is(gone, os.ErrNotExist) { // a down came between two supervisors
			return err
		}
		delay = min(2*delay, process.DefaultBackoff.Max)
	}
}

// keeper is what a keeper remembers.
type keeper struct {
	mu     sync.Mutex
	line   []byte // not whole yet
	served bool
	starts map[deploy.Slot]startMessage
}

// news is a line that a supervisor tells its keeper, that it serves or what is in a slot now, and the other way round.
type news struct {
	Keeper  int           `json:"keeper,omitempty"` // its process id
	Serving bool          `json:"serving,omitempty"`
	Slot    deploy.Slot   `json:"slot,omitempty"`
	Start   *startMessage `json:"start,omitempty"` // none: the slot is empty
}

// hold waits for the end of a supervisor and returns nil where it ended as it should.
func (k *keeper) hold(ctx context.Context, p *process.Process) error {
	select {
	case <-p.Done():
		return p.Wait()
	case <-ctx.Done():
	}
	_ = p.Stop(context.WithoutCancel(ctx), keptStop) // how it ended is what Wait says
	return p.Wait()
}

// memory is what the next supervisor reads.
func (k *keeper) memory() io.Reader {
	k.mu.Lock()
	defer k.mu.Unlock()
	var lines bytes.Buffer
	encoder := json.NewEncoder(&lines)
	_ = encoder.Encode(news{Keeper: os.Getpid()})
	for _, name := range slices.Sorted(maps.Keys(k.starts)) {
		start := k.starts[name]
		_ = encoder.Encode(news{Slot: name, Start: &start}) // it was JSON
	}
	k.line = nil // the one before may have been killed within a line
	return &lines
}

// Write implements io.Writer: it takes what a supervisor says.
func (k *keeper) Write(data []byte) (int, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.line = append(k.line, data...)
	for {
		line, rest, whole := bytes.Cut(k.line, []byte("\n"))
		if !whole {
			return len(data), nil
		}
		var said news
		if json.Unmarshal(line, &said) == nil {
			k.learn(said)
		}
		k.line = bytes.Clone(rest)
	}
}

func (k *keeper) learn(said news) {
	switch {
	case said.Serving:
		k.served = true
	case said.Start == nil:
		delete(k.starts, said.Slot)
	default:
		k.starts[said.Slot] = *said.Start
	}
}

func (k *keeper) hasServed() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.served
}

// Kept is what a supervisor has of its keeper.
type Kept struct {
	pid int // the keeper's

	mu     sync.Mutex
	out    io.Writer
	starts map[deploy.Slot]startMessage
}

// NewKept reads what the keeper remembers, which is all of in, and tells it on out what there is to remember.
func NewKept(in io.Reader, out io.Writer) (*Kept, error) {
	k := &Kept{out: out, starts: map[deploy.Slot]startMessage{}}
	lines := json.NewDecoder(in)
	for {
		var said news
		err := lines.Decode(&said)
		if errors.Is(err, io.EOF) {
			return k, nil
		}
		if err != nil {
			return nil, errors.New("read the keeper's memory: it is not what this program writes") // err might show a value
		}
		if said.Keeper != 0 {
			k.pid = said.Keeper
		}
		if said.Start != nil {
			k.starts[said.Slot] = *said.Start
		}
	}
}

// tell tells the keeper. Where that fails the keeper is gone, and this process is about to be.
func (k *Kept) tell(said news) {
	if k == nil {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	_ = json.NewEncoder(k.out).Encode(said)
}

// remembers is the start of a slot with its secrets, where it is the one with this token.
func (k *Kept) remembers(name deploy.Slot, token string) (startMessage, bool) {
	if k == nil {
		return startMessage{}, false
	}
	start, ok := k.starts[name]
	return start, ok && start.Token == token
}
