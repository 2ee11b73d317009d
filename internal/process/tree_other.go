//go:build unix && !linux

package process

import (
	"os"
	"syscall"
)

// executable is the file to start a guard from.
func executable() (string, error) { return os.Executable() }

// adopt does nothing: only Linux and FreeBSD let a process adopt its descendants' orphans.
func adopt() {}

// childAttr makes the program leader of a process group, which is all that holds a tree together here.
func childAttr(credential *Credential) *syscall.SysProcAttr {
	attr := &syscall.SysProcAttr{Setpgid: true}
	if credential != nil {
		attr.Credential = &syscall.Credential{Uid: credential.UID, Gid: credential.GID, NoSetGroups: os.Getuid() != 0}
	}
	return attr
}

// descendants is the program's process group, as kill(2) names it.
func descendants(child int) []int { return []int{-child} }

// killSession does nothing: without /proc there is no list of a session's members.
func killSession(int) {}
