package router

import (
	"crypto/tls"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"
)

// certificateCheck is how often, at most, the files of a certificate are looked at.
const certificateCheck = time.Second

// Certificate is a certificate in two files that is read anew when they change, as certbot and cert-manager replace them.
type Certificate struct {
	certFile, keyFile string
	logger            *slog.Logger

	mu      sync.Mutex
	current *tls.Certificate
	seen    [2]time.Time // when the files were changed last
	checked time.Time
}

// LoadCertificate reads a certificate and its key, both PEM. logger, which may be nil, hears of files that cannot be read
// later: the certificate that was read last stays in use.
func LoadCertificate(certFile, keyFile string, logger *slog.Logger) (*Certificate, error) {
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	c := &Certificate{certFile: certFile, keyFile: keyFile, logger: logger}
	changed, err := c.changed()
	if err != nil {
		return nil, fmt.Errorf("read certificate: %w", err)
	}
	if err := c.read(changed); err != nil {
		return nil, err
	}
	return c, nil
}

// Config is a TLS configuration for Options.TLS: TLS 1.2 or later, the certificate as it is at each handshake.
func (c *Certificate) Config() *tls.Config {
	return &tls.Config{
		MinVersion:     tls.VersionTLS12,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return c.get(), nil },
	}
}

func (c *Certificate) get() *tls.Certificate {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now := time.Now(); now.Sub(c.checked) >= certificateCheck {
		c.checked = now
		changed, err := c.changed()
		if err == nil && changed != c.seen {
			err = c.read(changed)
		}
		if err != nil {
			c.logger.Error("certificate not renewed, the last one stays in use", "error", err)
		}
	}
	return c.current
}

func (c *Certificate) changed() (at [2]time.Time, err error) {
	for i, path := range []string{c.certFile, c.keyFile} {
		info, err := os.Stat(path)
		if err != nil {
			return at, err
		}
		at[i] = info.ModTime()
	}
	return at, nil
}

// read reads both files. Where one is new and the other is not yet, they do not fit and the next look reads again.
func (c *Certificate) read(changed [2]time.Time) error {
	pair, err := tls.LoadX509KeyPair(c.certFile, c.keyFile)
	if err != nil {
		return fmt.Errorf("read certificate %s and key %s: %w", c.certFile, c.keyFile, err)
	}
	c.current, c.seen = &pair, changed
	return nil
}
