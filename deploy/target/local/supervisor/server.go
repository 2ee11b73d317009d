package supervisor

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"

	"github.com/metaextract/pipeline/deploy"
)

// handler is the protocol.
func (s *supervisor) handler() http.Handler {
	mux := http.NewServeMux()
	for pattern, endpoint := range map[string]func(*http.Request) (any, error){
		"GET " + version + "/status":                func(*http.Request) (any, error) { return s.status(), nil },
		"PUT " + version + "/slots/{slot}":          s.putSlot,
		"DELETE " + version + "/slots/{slot}":       s.deleteSlot,
		"GET " + version + "/slots/{slot}/alive":    s.getAlive,
		"GET " + version + "/slots/{slot}/logs":     s.getLogs,
		"POST " + version + "/slots/{slot}/restore": s.postRestore,
		"POST " + version + "/slots/{slot}/quiet":   s.postQuiet,
		"POST " + version + "/slots/{slot}/wake":    s.postWake,
		"POST " + version + "/down":                 s.postDown,
		"/": func(request *http.Request) (any, error) {
			return nil, invalid("there is no %s %s", request.Method, request.URL.Path)
		},
	} {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, request *http.Request) {
			result, err := endpoint(request)
			write(w, result, err)
			s.options.at("answered: " + request.Method)
		})
	}
	return mux
}

func write(w http.ResponseWriter, result any, err error) {
	status := http.StatusOK
	if err != nil {
		refused := &Error{What: err.Error()}
		var reasoned *Error
		if errors.As(err, &reasoned) {
			refused.Reason = reasoned.Reason
		}
		switch refused.Reason {
		case Invalid:
			status = http.StatusBadRequest
		case Conflict:
			status = http.StatusConflict
		default:
			status = http.StatusInternalServerError
		}
		result = refused
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(result) // the client is gone
}

func slotOf(request *http.Request) deploy.Slot { return deploy.Slot(request.PathValue("slot")) }

func (s *supervisor) putSlot(request *http.Request) (any, error) {
	var asked startMessage
	if err := decode(request.Body, &asked); err != nil {
		return nil, err
	}
	return s.start(request.Context(), slotOf(request), asked)
}

func (s *supervisor) deleteSlot(request *http.Request) (any, error) {
	var asked stopMessage
	if err := decode(request.Body, &asked); err != nil {
		return nil, err
	}
	return struct{}{}, s.stop(request.Context(), slotOf(request), asked)
}

func (s *supervisor) getAlive(request *http.Request) (any, error) {
	return problem(s.alive(request.Context(), slotOf(request))), nil
}

func (s *supervisor) getLogs(request *http.Request) (any, error) {
	return s.target.Logs(request.Context(), slotOf(request))
}

func (s *supervisor) postRestore(request *http.Request) (any, error) {
	var asked restoreMessage
	if err := decode(request.Body, &asked); err != nil {
		return nil, err
	}
	return problem(s.restore(request.Context(), slotOf(request), asked.Secrets)), nil
}

func (s *supervisor) postQuiet(request *http.Request) (any, error) {
	s.target.QuietWorkers(slotOf(request))
	return struct{}{}, nil
}

func (s *supervisor) postWake(request *http.Request) (any, error) {
	s.target.WakeWorkers(slotOf(request))
	return struct{}{}, nil
}

func (s *supervisor) postDown(request *http.Request) (any, error) {
	s.mu.Lock()
	ending := s.ending
	s.ending = true
	s.mu.Unlock()
	if ending {
		return nil, conflict("the environment is being ended already")
	}
	s.hide()
	bounded, cancel := context.WithTimeout(context.WithoutCancel(request.Context()), endGrace)
	defer cancel()
	ended := s.end(bounded)
	close(s.down)
	return endedMessage{ended}, nil
}

func problem(err error) problemMessage {
	if err == nil {
		return problemMessage{}
	}
	return problemMessage{err.Error()}
}
