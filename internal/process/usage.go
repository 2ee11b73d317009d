package process

import "time"

// Usage is what a program and everything it started use.
type Usage struct {
	Processes int
	// Resident is the memory in RAM, in bytes, each page counted once for each process that has it: what top shows.
	Resident int64
	// Proportional is the same with each page divided among the processes that share it, in bytes: what the tree's end
	// would free, more or less. It is Resident where the kernel does not tell.
	Proportional int64
	// CPU is the processor time that the processes and the children they waited for have used.
	CPU time.Duration
}

// Usage says what the tree uses now: nothing once it has ended. Other than on Linux the error is errors.ErrUnsupported.
func (p *Process) Usage() (Usage, error) {
	select {
	case <-p.done:
		return Usage{}, nil
	default:
		return usage(p.guard)
	}
}
