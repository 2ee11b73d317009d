package backup

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"filippo.io/age"
)

// VerifyOptions say which backup is proven again, and where. Fields of the same name are as in Options.
type VerifyOptions struct {
	File     string // of the backup; its manifest is beside it
	Identity string // private keys, as age-keygen writes them, for one that is encrypted
	Dumper   Dumper
	Cluster  Cluster
	Scratch  string
	Keep     bool
	Temp     string
	Jobs     int
}

// Verify proves a kept backup again: disks forget, and a backup may have to be read by newer tools than it was made with.
// It climbs the same ladder, comparing with what the manifest says of the original, and writes into the manifest how far it
// came. Errors to expect: ErrNotProven, ErrIdentity, ErrTool, and fs.ErrNotExist for a backup without file or manifest.
func Verify(ctx context.Context, o VerifyOptions) (b Backup, err error) {
	if o.Dumper == nil || o.Cluster == nil && o.Scratch == "" {
		return b, errors.New("verify backup: no dumper or no place for the proof given")
	}
	k, err := reopen(o.File, o.Identity, o.Temp)
	if err != nil {
		return b, fmt.Errorf("verify backup: %w", err)
	}
	defer k.close()
	b = k.manifest.Backup
	start := time.Now()
	l := k.ladder(&b, o.Dumper, o.Jobs)
	defer l.leave(ctx, o.Keep, &err)
	if err = l.read(ctx); err == nil {
		err = l.open(ctx, o.Cluster, o.Scratch, k.details.Origin)
	}
	if err == nil {
		_, err = l.fits(ctx, l.stage.URL, b.Tool, "the backup")
	}
	if err == nil {
		err = l.prove(ctx, k.details.Origin.Properties)
	}
	b.Duration = time.Since(start)
	if err == nil || errors.Is(err, ErrNotProven) { // anything else says nothing of the backup
		b.Proven = err == nil
		kept := *k.manifest
		kept.Backup = b
		err = errors.Join(err, kept.write(o.File))
		b.File = o.File
	}
	return b, err
}

// kept is a backup that is read. Nobody removes it meanwhile.
type kept struct {
	manifest *manifest
	details  details
	identity []age.Identity
	work     *workdir
	lock     *os.File
}

// reopen reads a backup's manifest.
func reopen(file, identity, temp string) (k *kept, err error) {
	k = &kept{}
	defer func() {
		if err != nil {
			k.close()
		}
	}()
	if k.lock, err = lockFile(file, os.O_RDONLY, syscall.LOCK_SH); err != nil {
		return k, err
	}
	if k.manifest, err = readManifest(file); err != nil {
		return k, fmt.Errorf("%w; without it there is nothing to compare with: pg_restore reads the file%s", err, byHand(file))
	}
	if k.identity, err = identities(identity); err != nil {
		return k, err
	}
	if k.details, err = k.manifest.unseal(k.identity); err != nil {
		return k, err
	}
	k.work, err = newWorkdir(temp)
	return k, err
}

// byHand says what else a file needs to be read by hand.
func byHand(file string) string {
	if filepath.Ext(file) == encrypted {
		return ", once age -d -i KEYFILE has decrypted it"
	}
	return ""
}

func (k *kept) close() {
	if k.work != nil {
		k.work.remove()
	}
	if k.lock != nil {
		_ = k.lock.Close()
	}
}

// ladder is that of the backup, from its foot: what b says of an earlier proof goes.
func (k *kept) ladder(b *Backup, dumper Dumper, jobs int) *ladder {
	b.Proof, b.Notes, b.Proven = nil, nil, false
	return &ladder{
		dumper: dumper, jobs: workers(jobs), backup: b, work: k.work, file: k.manifest.File, identity: k.identity, schema: k.details.Schema,
	}
}
