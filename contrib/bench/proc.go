package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// cpuByPID is the CPU time used so far by each process of a tree.
type cpuByPID map[int]time.Duration

// treeCPU reads the CPU time of root and all its descendants.
//
// It asks for the CPU clock of each process: nanoseconds, the time of ended threads included,
// where the sum over task/*/schedstat would lose them and stat counts in ticks of 10 ms.
func treeCPU(root int) (cpuByPID, error) {
	pids, err := processTree(root)
	if err != nil {
		return nil, err
	}
	cpu := make(cpuByPID, len(pids))
	for _, pid := range pids {
		used, err := processCPU(pid)
		if err != nil {
			return nil, err
		}
		cpu[pid] = used
	}
	return cpu, nil
}

// since returns what the tree used after the reading before. A process that ended in between
// took its count with it, so the difference would be wrong: that is an error.
func (now cpuByPID) since(before cpuByPID) (time.Duration, error) {
	var total time.Duration
	for pid := range before {
		if _, ok := now[pid]; !ok {
			return 0, fmt.Errorf("process %d ended during the measurement", pid)
		}
	}
	for pid, used := range now {
		total += used - before[pid]
	}
	return total, nil
}

func processCPU(pid int) (time.Duration, error) {
	// The clock id of another process, see clock_getcpuclockid(3): ~pid in the upper bits,
	// 2 for "time on the CPU as the scheduler counts it".
	clock := int32(^pid<<3 | 2)
	var ts unix.Timespec
	if err := unix.ClockGettime(clock, &ts); err == nil {
		return time.Duration(ts.Nano()), nil
	}
	stat, err := readStat(pid)
	if err != nil {
		return 0, err
	}
	return stat.cpu, nil
}

// processTree returns root and all its descendants.
func processTree(root int) ([]int, error) {
	entries, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return nil, fmt.Errorf("listing processes: %w", err)
	}
	children := make(map[int][]int)
	for _, entry := range entries {
		pid, err := strconv.Atoi(filepath.Base(entry))
		if err != nil {
			continue
		}
		stat, err := readStat(pid)
		if err != nil {
			continue // ended since the listing
		}
		children[stat.parent] = append(children[stat.parent], pid)
	}
	tree := []int{root}
	for i := 0; i < len(tree); i++ {
		tree = append(tree, children[tree[i]]...)
	}
	return tree, nil
}

// procStat is the part of /proc/PID/stat used here.
type procStat struct {
	parent int
	cpu    time.Duration // user and system, in ticks of 10 ms
}

func readStat(pid int) (procStat, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return procStat{}, fmt.Errorf("reading process state: %w", err)
	}
	return parseStat(string(data))
}

// parseStat reads a line of /proc/PID/stat. The command name stands in parentheses and may
// hold spaces and parentheses itself, so the fields are counted from the last one.
func parseStat(line string) (procStat, error) {
	const tick = 10 * time.Millisecond // USER_HZ is 100 on every architecture Go runs on
	end := strings.LastIndexByte(line, ')')
	if end < 0 {
		return procStat{}, fmt.Errorf("parsing process state: no command name in %q", line)
	}
	fields := strings.Fields(line[end+1:])
	if len(fields) < 13 {
		return procStat{}, fmt.Errorf("parsing process state: %d fields in %q", len(fields), line)
	}
	// proc(5) counts from 1 and the first field here is its number 3.
	parent, err1 := strconv.Atoi(fields[4-3])
	user, err2 := strconv.ParseInt(fields[14-3], 10, 64)
	system, err3 := strconv.ParseInt(fields[15-3], 10, 64)
	if err := errors.Join(err1, err2, err3); err != nil {
		return procStat{}, fmt.Errorf("parsing process state: %w", err)
	}
	return procStat{parent: parent, cpu: time.Duration(user+system) * tick}, nil
}

// treePSS returns the resident memory of root and its descendants in bytes, shared pages
// divided among those that share them.
func treePSS(root int) (int64, error) {
	pids, err := processTree(root)
	if err != nil {
		return 0, err
	}
	var total int64
	for _, pid := range pids {
		data, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
		if err != nil {
			return 0, fmt.Errorf("reading memory: %w", err)
		}
		pss, err := parsePSS(data)
		if err != nil {
			return 0, err
		}
		total += pss
	}
	return total, nil
}

func parsePSS(rollup []byte) (int64, error) {
	for line := range bytes.Lines(rollup) {
		value, ok := bytes.CutPrefix(line, []byte("Pss:"))
		if !ok {
			continue
		}
		number := strings.TrimSuffix(strings.TrimSpace(string(value)), " kB")
		kib, err := strconv.ParseInt(number, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("parsing memory: %w", err)
		}
		return kib << 10, nil
	}
	return 0, errors.New("parsing memory: no Pss line")
}

// settledPSS polls the memory of a tree until it has stood still for a second, or bound is over.
func settledPSS(ctx context.Context, root int, bound time.Duration) (int64, error) {
	const (
		interval = 250 * time.Millisecond
		window   = 5
		still    = 128 << 10
	)
	deadline := time.Now().Add(bound)
	var seen []int64
	for {
		pss, err := treePSS(root)
		if err != nil {
			return 0, err
		}
		seen = append(seen, pss)
		last := seen[max(0, len(seen)-window):]
		settled := len(last) == window && slices.Max(last)-slices.Min(last) <= still
		if settled || time.Now().After(deadline) {
			return pss, nil
		}
		if err := sleep(ctx, interval); err != nil {
			return 0, err
		}
	}
}

// sleep waits for d or the end of ctx.
func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}
