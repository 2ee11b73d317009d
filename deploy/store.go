package deploy

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
)

// DirStore keeps what deployments need to go on in a directory, a file each. It has no lock: it is for an environment on
// this machine, whose commands exclude each other otherwise.
type DirStore string

var _ Store = DirStore("")

// Save replaces the deployment's file: a reader, or a command after a power cut, sees what was saved before or this, whole.
func (s DirStore) Save(_ context.Context, deployment string, data []byte) error {
	path := s.path(deployment)
	temporary, err := os.CreateTemp(string(s), ".save.*")
	if err != nil {
		return fmt.Errorf("save state of deployment: %w", err)
	}
	defer os.Remove(temporary.Name()) // fails once renamed
	_, err = temporary.Write(data)
	if err = errors.Join(err, temporary.Sync(), temporary.Close()); err == nil {
		err = os.Rename(temporary.Name(), path)
	}
	if err == nil {
		err = syncDir(string(s))
	}
	if err != nil {
		return fmt.Errorf("save state of deployment: %w", err)
	}
	return nil
}

// Load returns what was saved last.
func (s DirStore) Load(_ context.Context, deployment string) ([]byte, error) {
	data, err := os.ReadFile(s.path(deployment))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("load state of deployment: %w", err)
	}
	return data, nil
}

func (s DirStore) path(deployment string) string {
	return filepath.Join(string(s), url.QueryEscape(deployment)+".json")
}

// syncDir makes a rename durable.
func syncDir(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
