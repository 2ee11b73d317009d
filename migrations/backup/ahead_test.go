package backup

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/metaextract/pipeline/internal/pgtest"
)

// servers is a Cluster that counts what it starts and what is still there.
type servers struct {
	started, open int
	fails         int // so many starts
}

type counted struct{ all *servers }

func (s *servers) Start(context.Context, Server) (Scratch, error) {
	s.started++
	if s.started <= s.fails {
		return nil, errors.New("no disk")
	}
	s.open++
	return counted{s}, nil
}

func (c counted) URL() string { return "postgres://scratch" }

func (c counted) Close(context.Context) error {
	c.all.open--
	return nil
}

func TestServerIsStartedAhead(t *testing.T) {
	url := pgtest.Database(t)
	ahead := func(t *testing.T, s *servers) *Ahead {
		a, err := StartAhead(t.Context(), url, s)
		require.NoError(t, err)
		<-a.begun
		return a
	}
	t.Run("and handed out once", func(t *testing.T) {
		s := &servers{}
		a := ahead(t, s)
		require.Equal(t, 1, s.started)
		_, err := a.Start(t.Context(), a.like)
		require.NoError(t, err)
		assert.Equal(t, 1, s.started)
		_, err = a.Start(t.Context(), a.like)
		require.NoError(t, err)
		assert.Equal(t, 2, s.started, "the second asked for is another one")
		require.NoError(t, a.Close(t.Context()))
		assert.Equal(t, 2, s.open, "what was handed out is not closed")
	})
	t.Run("but not to who asks for another", func(t *testing.T) {
		s := &servers{}
		a := ahead(t, s)
		other := a.like
		other.Major++
		_, err := a.Start(t.Context(), other)
		require.NoError(t, err)
		assert.Equal(t, 2, s.started)
		require.NoError(t, a.Close(t.Context()))
		assert.Equal(t, 1, s.open, "the one that nobody took is closed")
	})
	t.Run("and where that failed, once more", func(t *testing.T) {
		s := &servers{fails: 1}
		a := ahead(t, s)
		_, err := a.Start(t.Context(), a.like)
		require.NoError(t, err)
		assert.Equal(t, 2, s.started)
		require.NoError(t, a.Close(t.Context()))
	})
	t.Run("and closed when nobody asks", func(t *testing.T) {
		s := &servers{}
		require.NoError(t, ahead(t, s).Close(t.Context()))
		assert.Zero(t, s.open)
	})
}
