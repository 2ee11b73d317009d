package migrations

import "errors"

// What a run ends with when the database is not as it must be. They are wrapped in errors that say more.
var (
	// ErrLocked: another migrator held the lock for the whole of Options.LockWait.
	ErrLocked = errors.New("another migrator is at work")
	// ErrDirty: an earlier run stopped half way through a migration that cannot run in a transaction, and what it left is not
	// known well enough to go on.
	ErrDirty = errors.New("a migration is half applied")
	// ErrNewer: the database has a version that the folder does not know.
	ErrNewer = errors.New("the database is ahead of the migrations")
	// ErrForeign: another tool migrated the database, and what it applied must not be applied again.
	ErrForeign = errors.New("another tool has migrated this database")
	// ErrEdited: a migration was changed after it had been applied.
	ErrEdited = errors.New("an applied migration was edited")
	// ErrMissing: a migration that was applied is not in the folder.
	ErrMissing = errors.New("an applied migration is missing")
	// ErrOutOfOrder: a migration was added below one that is applied, so it would never run.
	ErrOutOfOrder = errors.New("a migration is out of order")
	// ErrIrreversible: nothing but a backup takes a migration back.
	ErrIrreversible = errors.New("the migration cannot be taken back")
	// ErrPooled: the session goes through a pooler that shares it, so a lock on it locks nothing.
	ErrPooled = errors.New("the database is behind a connection pooler in transaction mode")
	// ErrVerify: a migration's own check says that it did not do what it should.
	ErrVerify = errors.New("the migration's verification failed")
)
