package router_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/metaextract/pipeline/deploy/router"
)

// certificate writes a certificate for a name and its key.
func certificate(t testing.TB, dir, name string) (certFile, keyFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotAfter: time.Now().Add(time.Hour), DNSNames: []string{"localhost"},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	require.NoError(t, err)
	private, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(t, err)
	certFile, keyFile = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	require.NoError(t, os.WriteFile(certFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600))
	require.NoError(t, os.WriteFile(keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}), 0o600))
	return certFile, keyFile
}

func TestACertificateThatChangesIsUsedWithoutARestart(t *testing.T) {
	dir := t.TempDir()
	cert, key := certificate(t, dir, "first")
	loaded, err := router.LoadCertificate(cert, key, nil)
	require.NoError(t, err)
	r := router.New(router.Options{TLS: loaded.Config()})
	address := strings.TrimPrefix(public(t, r), "http://")
	name := func() string {
		connection, err := tls.Dial("tcp", address, &tls.Config{InsecureSkipVerify: true})
		require.NoError(t, err)
		defer connection.Close()
		return connection.ConnectionState().PeerCertificates[0].Subject.CommonName
	}
	require.Equal(t, "first", name())

	// Half a change: the files do not fit, and what was read last stays.
	require.NoError(t, os.WriteFile(cert, []byte("not yet"), 0o600))
	require.NoError(t, os.Chtimes(cert, time.Now(), time.Now().Add(time.Minute)))
	for began := time.Now(); time.Since(began) < 1200*time.Millisecond; {
		require.Equal(t, "first", name())
	}
	certificate(t, dir, "second")
	require.NoError(t, os.Chtimes(cert, time.Now(), time.Now().Add(2*time.Minute)))
	eventually(t, func() bool { return name() == "second" }, "the new certificate is used")

	_, err = router.LoadCertificate(cert, cert, nil)
	require.ErrorContains(t, err, "read certificate")
	_, err = router.LoadCertificate(filepath.Join(dir, "none"), key, nil)
	require.ErrorContains(t, err, "read certificate")
}
