package process

import (
	"bytes"
	"os"
	"strconv"
	"time"
)

// tick is the unit of times in /proc/PID/stat: USER_HZ, which is 100 on every architecture that Go runs on (proc(5)).
const tick = time.Second / 100

// usage adds up what is below a guard. Processes that end meanwhile are left out.
func usage(guard int) (Usage, error) {
	var sum Usage
	for _, pid := range below(guard) {
		dir := "/proc/" + strconv.Itoa(pid)
		line, err := os.ReadFile(dir + "/stat")
		if err != nil {
			continue
		}
		// From the state on, which is field 3 of proc(5): utime, stime, cutime and cstime are 14 to 17, rss is 24.
		fields := bytes.Fields(line[bytes.LastIndexByte(line, ')')+1:])
		if len(fields) < 22 {
			continue
		}
		var ticks int64
		for _, field := range fields[11:15] {
			ticks += number(field)
		}
		resident := number(fields[21]) * int64(os.Getpagesize())
		sum.Processes++
		sum.CPU += time.Duration(ticks) * tick
		sum.Resident += resident
		sum.Proportional += proportional(dir, resident)
	}
	return sum, nil
}

// proportional reads the Pss line of smaps_rollup, in kB (Linux 4.14).
func proportional(dir string, otherwise int64) int64 {
	text, err := os.ReadFile(dir + "/smaps_rollup")
	if err != nil {
		return otherwise
	}
	_, after, ok := bytes.Cut(text, []byte("\nPss:"))
	fields := bytes.Fields(after)
	if !ok || len(fields) == 0 {
		return otherwise
	}
	return number(fields[0]) << 10
}

func number(field []byte) int64 {
	n, _ := strconv.ParseInt(string(field), 10, 64)
	return n
}
