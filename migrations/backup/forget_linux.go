package backup

import (
	"os"

	"golang.org/x/sys/unix"
)

// forget has the system forget what it remembers of a file's content, which has been synced: what is read next comes from
// the disk. It is advice, which file systems may not take.
func forget(file *os.File) { _ = unix.Fadvise(int(file.Fd()), 0, 0, unix.FADV_DONTNEED) }
