package migrations

import "errors"

// What a run or a backup ends with when the database is not as it must be. They are wrapped in errors that say more.
var (
	// ErrLocked: another migrator held the lock for the whole of Options.LockWait.
	ErrLocked = errors.New("another migrator is at work")
	// ErrDirty: an earlier run stopped half way through a migration that cannot run in a transaction.
	ErrDirty = errors.New("a migration is half applied")
	// ErrNewer: the database has a version that the folder does not know.
	ErrNewer = errors.New("the database is ahead of the migrations")
	// ErrForeign: another tool migrated the database, and what it applied must not be applied again.
	ErrForeign = errors.New("another tool has migrated this database")
)
