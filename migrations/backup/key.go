package backup

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"filippo.io/age"
)

// key encrypts a backup to its recipients, and to one more whose private key is known to this process alone and gone with
// it: so the proof is made of the file that is kept, without the private keys of its recipients, which are not where
// backups are made.
type key struct {
	names      []string // public keys; empty where nothing is encrypted
	recipients []age.Recipient
	own        []age.Identity
}

// newKey reads the recipients' public keys. Those of age's post-quantum kind (age1pq1…) and the others cannot be mixed: the
// file would be as weak as the weakest.
func newKey(names []string) (*key, error) {
	k := &key{}
	quantum := 0
	for i, name := range names {
		name = strings.TrimSpace(name)
		var recipient age.Recipient
		var err error
		switch {
		case strings.HasPrefix(name, "age1pq1"):
			recipient, err = age.ParseHybridRecipient(name)
			quantum++
		case strings.HasPrefix(name, "age1"):
			recipient, err = age.ParseX25519Recipient(name)
		default: // it may be anything, a private key too
			return nil, fmt.Errorf("encrypt backup: recipient %d is no public key of age (age1…); age-keygen makes a pair", i+1)
		}
		if err != nil {
			return nil, fmt.Errorf("encrypt backup: recipient %d (%s): %w", i+1, name, err)
		}
		k.names, k.recipients = append(k.names, name), append(k.recipients, recipient)
	}
	switch quantum {
	case len(names):
		own, err := age.GenerateHybridIdentity()
		if len(names) > 0 && err == nil {
			k.recipients, k.own = append(k.recipients, own.Recipient()), []age.Identity{own}
		}
		return k, err
	case 0:
		own, err := age.GenerateX25519Identity()
		if err == nil {
			k.recipients, k.own = append(k.recipients, own.Recipient()), []age.Identity{own}
		}
		return k, err
	}
	return nil, errors.New("encrypt backup: some recipients are of age's post-quantum kind (age1pq1…) and some are not: use one kind")
}

// encrypt encrypts what is written to the end of the writer returned, which must be closed. Without recipients it passes
// everything through.
func (k *key) encrypt(w io.Writer) (io.WriteCloser, error) {
	if len(k.names) == 0 {
		return passing{w}, nil
	}
	encrypted, err := age.Encrypt(w, k.recipients...)
	if err != nil {
		return nil, fmt.Errorf("encrypt backup: %w", err)
	}
	return encrypted, nil
}

type passing struct{ io.Writer }

func (passing) Close() error { return nil }

// ErrIdentity means that the private key that was given does not open the backup, or none was.
var ErrIdentity = errors.New("the private key does not fit the backup")

// identities reads private keys as age-keygen writes them. No error shows them.
func identities(text string) ([]age.Identity, error) {
	if strings.TrimSpace(text) == "" {
		return nil, nil
	}
	found, err := age.ParseIdentities(strings.NewReader(text))
	if err != nil {
		return nil, errors.New("read private key: it is not what age-keygen writes: lines that begin with AGE-SECRET-KEY-, and comments with #")
	}
	return found, nil
}

// decrypt reads what was encrypted to recipients.
func decrypt(r io.Reader, recipients []string, with []age.Identity) (io.Reader, error) {
	if len(recipients) == 0 {
		return r, nil
	}
	if len(with) == 0 {
		return nil, fmt.Errorf("decrypt backup: %w: it is encrypted to %s, and no private key was given", ErrIdentity, strings.Join(recipients, ", "))
	}
	plain, err := age.Decrypt(r, with...)
	var none *age.NoIdentityMatchError
	if errors.As(err, &none) {
		return nil, fmt.Errorf("decrypt backup: %w: it is encrypted to %s, and the key given is none of these", ErrIdentity, strings.Join(recipients, ", "))
	}
	if err != nil {
		return nil, fmt.Errorf("decrypt backup: %w", err)
	}
	return plain, nil
}
