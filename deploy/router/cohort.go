package router

import (
	"crypto/sha256"
	"encoding/binary"
	"net/http"
	"time"
)

// CohortCookie holds the random id that keeps a client on one slot while traffic is split. The router sets it only then.
const CohortCookie = "pipeline_cohort"

// cohortAge is how long a client keeps its id: longer than any ramp.
const cohortAge = 7 * 24 * time.Hour

// maxCohort bounds what is hashed: an id of ours is 26 characters long.
const maxCohort = 64

// cohortOf is the id that the client sent, "" for none or one that is not ours.
func cohortOf(request *http.Request) string {
	cookie, err := request.Cookie(CohortCookie)
	if err != nil || len(cookie.Value) > maxCohort {
		return ""
	}
	return cookie.Value
}

func setCohort(w http.ResponseWriter, request *http.Request, id string) {
	http.SetCookie(w, &http.Cookie{
		Name: CohortCookie, Value: id, Path: "/", MaxAge: int(cohortAge / time.Second),
		HttpOnly: true, SameSite: http.SameSiteLaxMode,
		Secure: request.TLS != nil || request.Header.Get("X-Forwarded-Proto") == "https",
	})
}

// share is a cohort's fixed point in [0, 100): uniform over ids, and unrelated from one salt to the next, so that the same
// people are not always first to get a new release.
func share(id, salt string) float64 {
	sum := sha256.Sum256([]byte(salt + "\x00" + id))
	return float64(binary.BigEndian.Uint64(sum[:8])>>11) / (1 << 53) * 100
}
