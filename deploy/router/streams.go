package router

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"
)

// streamKind is what an exchange that may last for hours is.
type streamKind uint8

const (
	brief    streamKind = iota // an ordinary answer
	upgraded                   // a WebSocket, or another protocol of the application's
	events                     // text/event-stream
)

// streams is the conversations that are open on a slot. They do not end by waiting.
type streams struct {
	mu    sync.Mutex
	byID  map[uint64]conversation
	next  uint64
	count [events + 1]int
	cuts  [events + 1]int64
}

type conversation struct {
	kind streamKind
	cut  func()
}

// open notes a conversation; closed is to be called when it is over.
func (s *streams) open(kind streamKind, cut func()) (closed func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.byID == nil {
		s.byID = map[uint64]conversation{}
	}
	id := s.next
	s.next++
	s.byID[id] = conversation{kind: kind, cut: cut}
	s.count[kind]++
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if _, there := s.byID[id]; there {
			delete(s.byID, id)
			s.count[kind]--
		}
	}
}

func (s *streams) status() (open [events + 1]int, cut [events + 1]int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.count, s.cuts
}

// cut ends every conversation, each at a random moment of the spread, and returns how many it ended of each kind. Clients
// connect again at once: all of them in one moment would be a load that the new release never sees otherwise.
func (s *streams) cut(ctx context.Context, spread time.Duration) (ended [events + 1]int) {
	s.mu.Lock()
	ids := make([]uint64, 0, len(s.byID))
	for id := range s.byID {
		ids = append(ids, id)
	}
	s.mu.Unlock()
	rand.Shuffle(len(ids), func(i, j int) { ids[i], ids[j] = ids[j], ids[i] })
	began := time.Now()
	for i, id := range ids {
		// Evenly over the spread, in random order, each a little off.
		at := time.Duration((float64(i) + rand.Float64()) / float64(len(ids)) * float64(spread))
		wait := time.NewTimer(at - time.Since(began))
		select {
		case <-wait.C:
		case <-ctx.Done(): // no time left: the rest at once
			wait.Stop()
		}
		s.mu.Lock()
		c, there := s.byID[id]
		if there {
			s.cuts[c.kind]++
			ended[c.kind]++
		}
		s.mu.Unlock()
		if there {
			c.cut()
		}
	}
	return ended
}
