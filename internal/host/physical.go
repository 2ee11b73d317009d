package host

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/user"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/metaextract/pipeline/internal/process"
	"github.com/metaextract/pipeline/internal/redact"
	"github.com/metaextract/pipeline/migrations/backup"
)

// physicalPatience bounds a program of a physical backup.
const physicalPatience = 12 * time.Hour

// labels are what a backup may be called: it becomes a word of a command line, and must not be taken for an option there.
var labels = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._:/-]{0,254}$`)

func checkWord(what, word string) error {
	if !labels.MatchString(word) {
		return fmt.Errorf("%s %q is no word that a command line takes: use letters, digits and . _ : / -, beginning with a letter or a digit", what, word)
	}
	return nil
}

// PgBackRest makes physical backups with pgBackRest, of a stanza that has been created and whose server archives its log.
// It has been tried with pgBackRest 2.45, of Debian 12.
type PgBackRest struct {
	Stanza string
	Config string // pgBackRest's configuration file; empty for the one it finds itself
	Type   string // full, diff or incr; empty for incr, or full where there is none before
	// User is whom it runs as where the pipeline runs as root: the owner of the server's files and of the repository.
	// Empty for root itself.
	User string
}

var _ backup.Adapter = PgBackRest{}

// Name is "pgbackrest".
func (PgBackRest) Name() string { return "pgbackrest" }

// BackUp makes a backup, with the label as its annotation, and finds it in the repository.
func (p PgBackRest) BackUp(ctx context.Context, label string) (backup.Reference, error) {
	if err := checkWord("label", label); err != nil {
		return backup.Reference{}, fmt.Errorf("back up with pgbackrest: %w", err)
	}
	args := []string{"--start-fast", "--annotation=label=" + label}
	if p.Type != "" {
		args = append(args, "--type="+p.Type)
	}
	if _, err := p.run(ctx, append(args, "backup")...); err != nil {
		return backup.Reference{}, fmt.Errorf("back up with pgbackrest: %w", err)
	}
	list, err := p.list(ctx)
	if err != nil {
		return backup.Reference{}, err
	}
	for i := len(list) - 1; i >= 0; i-- {
		if list[i].Annotation.Label == label {
			return backup.Reference{Adapter: p.Name(), ID: list[i].Label, Label: label, At: time.Unix(list[i].Timestamp.Stop, 0).UTC()}, nil
		}
	}
	return backup.Reference{}, fmt.Errorf("back up with pgbackrest: it made a backup, and lists none that has the label %s", label)
}

// rested is a backup in pgBackRest's repository.
type rested struct {
	Label      string `json:"label"`
	Error      bool   `json:"error"` // pages of it had wrong checksums
	Annotation struct {
		Label string `json:"label"`
	} `json:"annotation"`
	Timestamp struct {
		Stop int64 `json:"stop"`
	} `json:"timestamp"`
}

// list lists the stanza's backups, oldest first.
func (p PgBackRest) list(ctx context.Context) ([]rested, error) {
	out, err := p.run(ctx, "--output=json", "info")
	if err != nil {
		return nil, fmt.Errorf("list pgbackrest's backups: %w", err)
	}
	var stanzas []struct {
		Backup []rested `json:"backup"`
	}
	if err := json.Unmarshal(out, &stanzas); err != nil {
		return nil, fmt.Errorf("list pgbackrest's backups: %w", err)
	}
	if len(stanzas) == 0 {
		return nil, nil
	}
	return stanzas[0].Backup, nil
}

// Check has pgBackRest read the repository, and looks what it says of the backup: that version ends with exit code 0 also
// for one that is damaged.
func (p PgBackRest) Check(ctx context.Context, r backup.Reference) error {
	list, err := p.list(ctx)
	if err != nil {
		return err
	}
	found := false
	for _, b := range list {
		if b.Label == r.ID {
			found = true
			if b.Error {
				return fmt.Errorf("check %s: %w: pages of it had wrong checksums when it was made", r, backup.ErrNotProven)
			}
		}
	}
	if !found {
		return fmt.Errorf("check %s: %w: it is not in the repository", r, backup.ErrNotProven)
	}
	out, err := p.run(ctx, "--output=text", "--verbose", "verify")
	line := regexp.MustCompile(`(?m)^ *backup: ` + regexp.QuoteMeta(r.ID) + `, status: (\w+).*(?:\n +missing:.*)?`).FindSubmatch(out)
	switch {
	case line == nil && err != nil:
		return fmt.Errorf("check %s: %w", r, err)
	case line == nil:
		return fmt.Errorf("check %s: pgbackrest verify says nothing of it", r)
	case string(line[1]) != "valid":
		return fmt.Errorf("check %s: %w: %s", r, backup.ErrNotProven, strings.Join(strings.Fields(string(line[0])), " "))
	}
	return nil
}

// Restore restores into an empty data directory, which a server can be started in: it recovers then, up to the restore point
// or to the end of the backup, and does not archive into the repository it came from.
func (p PgBackRest) Restore(ctx context.Context, r backup.Reference, target backup.Target) error {
	args := []string{"--set=" + r.ID, "--pg1-path=" + target.Place, "--archive-mode=off", "--target-action=promote"}
	if target.Point == "" {
		args = append(args, "--type=immediate")
	} else {
		args = append(args, "--type=name", "--target="+target.Point)
	}
	if _, err := p.run(ctx, append(args, "restore")...); err != nil {
		return fmt.Errorf("restore %s: %w", r, err)
	}
	return nil
}

func (p PgBackRest) run(ctx context.Context, args ...string) ([]byte, error) {
	all := []string{"pgbackrest", "--stanza=" + p.Stanza, "--log-level-console=off", "--log-level-stderr=warn"}
	if p.Config != "" {
		all = append(all, "--config="+p.Config)
	}
	as, err := account(p.User)
	if err != nil {
		return nil, err
	}
	return runPhysical(ctx, as, physicalPatience, append(all, args...))
}

// account is a user to run a program as; nil for the pipeline's own.
func account(name string) (*process.Credential, error) {
	if name == "" || os.Getuid() != 0 {
		return nil, nil
	}
	u, err := user.Lookup(name)
	if err != nil {
		return nil, err
	}
	uid, err1 := strconv.ParseUint(u.Uid, 10, 32)
	gid, err2 := strconv.ParseUint(u.Gid, 10, 32)
	return &process.Credential{UID: uint32(uid), GID: uint32(gid)}, errors.Join(err1, err2)
}

// secretVariables are those whose values are kept out of errors: credentials of the storage that backups go to.
var secretVariables = regexp.MustCompile(`(?i)(key|secret|token|password|passphrase|pass)(_|$)|PGPASSWORD`)

// runPhysical runs a program with the pipeline's own environment, which has the credentials of the storage, and returns what
// it prints. An error has the end of what it says, without secrets.
func runPhysical(ctx context.Context, as *process.Credential, patience time.Duration, args []string) ([]byte, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, patience, fmt.Errorf("it has not ended within %s", patience))
	defer cancel()
	var out, said bytes.Buffer
	err := process.Run(ctx, process.Spec{Args: args, Dir: os.TempDir(), Env: os.Environ(), Credential: as, Stdout: &out, Stderr: &said})
	if err == nil {
		return out.Bytes(), nil
	}
	if errors.Is(err, os.ErrNotExist) || strings.Contains(err.Error(), "executable file not found") {
		return nil, fmt.Errorf("%s is not on PATH; %s", args[0], howToInstall(args[0]))
	}
	var redactor redact.Redactor
	for _, variable := range os.Environ() {
		if name, value, _ := strings.Cut(variable, "="); secretVariables.MatchString(name) {
			redactor.Secret(value)
		}
	}
	text := bytes.TrimSpace(said.Bytes())
	const most = 2 << 10
	return out.Bytes(), fmt.Errorf("%w: %s", err, redactor.Bytes(text[max(0, len(text)-most):]))
}
