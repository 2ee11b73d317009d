package process

import (
	"bytes"
	"os"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// executable is the file to start a guard from. /proc/self/exe is right even when the file was replaced or deleted
// since, as an upgrade or `go run` does.
func executable() (string, error) { return "/proc/self/exe", nil }

// adopt makes orphans below this process its children, so that none can leave the tree by losing its parent.
func adopt() {
	_ = unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
}

// childAttr makes the program leader of its own process group, so that "kill 0" in a script does not reach the guard,
// and has the kernel kill it when the guard is killed.
func childAttr(credential *Credential) *syscall.SysProcAttr {
	attr := &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if credential != nil {
		attr.Credential = &syscall.Credential{Uid: credential.UID, Gid: credential.GID, NoSetGroups: os.Getuid() != 0}
	}
	return attr
}

// stat is what the kernel says about a process.
type stat struct{ pid, parent, session int }

// stats lists all processes. Those that end meanwhile are left out.
func stats() []stat {
	dir, err := os.Open("/proc")
	if err != nil {
		return nil
	}
	defer dir.Close()
	names, _ := dir.Readdirnames(-1)
	list := make([]stat, 0, len(names))
	for _, name := range names {
		pid, err := strconv.Atoi(name)
		if err != nil {
			continue
		}
		line, err := os.ReadFile("/proc/" + name + "/stat")
		if err != nil {
			continue
		}
		// "pid (name) state ppid pgrp session …": the name may hold anything, so count from its last parenthesis.
		fields := bytes.Fields(line[bytes.LastIndexByte(line, ')')+1:])
		if len(fields) < 4 {
			continue
		}
		parent, _ := strconv.Atoi(string(fields[1]))
		session, _ := strconv.Atoi(string(fields[3]))
		list = append(list, stat{pid, parent, session})
	}
	return list
}

// descendants lists everything below this process. As the process adopts orphans, that is everything it ever started,
// in whatever session or group it is now.
func descendants(int) []int { return below(os.Getpid()) }

// below lists the descendants of a process, parents first.
func below(pid int) []int {
	children := map[int][]int{}
	for _, s := range stats() {
		children[s.parent] = append(children[s.parent], s.pid)
	}
	queue := append([]int(nil), children[pid]...)
	for i := 0; i < len(queue); i++ {
		queue = append(queue, children[queue[i]]...)
	}
	return queue
}

// killSession kills what is left in the session of a guard that was killed.
func killSession(session int) {
	for _, s := range stats() {
		if s.session == session {
			_ = syscall.Kill(s.pid, syscall.SIGKILL)
		}
	}
}
