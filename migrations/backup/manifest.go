package backup

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"filippo.io/age"

	"github.com/metaextract/pipeline/migrations/catalog"
)

// manifestFormat is raised when an older pipeline could misread what is written.
const manifestFormat = 1

// manifest is what is kept beside a backup's file, as FILE.json.
type manifest struct {
	Format int `json:"format"`
	Backup
	// Sealed is what the copy is compared with and what it needs to be made anew. It is as secret as the dump (defaults
	// and settings may hold passwords), so it is encrypted where that is.
	Sealed []byte `json:"sealed,omitempty"`
}

// details is what is sealed.
type details struct {
	Origin *origin           `json:"origin"`
	Schema *catalog.Snapshot `json:"schema"`
}

// seal packs the details.
func (k *key) seal(d details) ([]byte, error) {
	var packed bytes.Buffer
	w, err := k.encrypt(&packed)
	if err != nil {
		return nil, err
	}
	zipped := gzip.NewWriter(w)
	err = json.NewEncoder(zipped).Encode(d)
	for _, end := range []io.Closer{zipped, w} {
		if err == nil {
			err = end.Close()
		}
	}
	if err != nil {
		return nil, fmt.Errorf("write manifest: %w", err)
	}
	return packed.Bytes(), nil
}

// unseal unpacks the details.
func (m *manifest) unseal(with []age.Identity) (d details, err error) {
	plain, err := decrypt(bytes.NewReader(m.Sealed), m.Recipients, with)
	if err != nil {
		return d, err
	}
	unzipped, err := gzip.NewReader(plain)
	if err == nil {
		err = json.NewDecoder(unzipped).Decode(&d)
	}
	if err != nil || d.Origin == nil || d.Schema == nil {
		return d, fmt.Errorf("read manifest: what it says of the schema cannot be read: %w", orEmpty(err))
	}
	return d, nil
}

func orEmpty(err error) error {
	if err == nil {
		return io.ErrUnexpectedEOF
	}
	return err
}

// write writes the manifest of a backup's file: whole or not at all.
func (m *manifest) write(file string) error {
	m.Format, m.File = manifestFormat, filepath.Base(file)
	text, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return fmt.Errorf("write manifest: %w", err)
	}
	p, err := newPart(file + manifestSuffix)
	if err != nil {
		return fmt.Errorf("write manifest: %w", err)
	}
	if _, err := p.Write(append(text, '\n')); err != nil {
		p.discard()
		return fmt.Errorf("write manifest: %w", err)
	}
	if err := p.finish(); err != nil {
		return fmt.Errorf("write manifest: %w", err)
	}
	return nil
}

// readManifest reads the manifest of a backup's file. Its error is fs.ErrNotExist where there is none.
func readManifest(file string) (*manifest, error) {
	text, err := os.ReadFile(file + manifestSuffix)
	if err != nil {
		return nil, fmt.Errorf("read manifest: %w", err)
	}
	var m manifest
	if err := json.Unmarshal(text, &m); err != nil {
		return nil, fmt.Errorf("read manifest %s: %w", file+manifestSuffix, err)
	}
	if m.Format != manifestFormat {
		return nil, fmt.Errorf("read manifest %s: its format is %d, and this pipeline reads %d: use the one that wrote it, or a newer one",
			file+manifestSuffix, m.Format, manifestFormat)
	}
	m.File = file
	return &m, nil
}
