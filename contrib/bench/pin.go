package main

import (
	"errors"
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// placement says on which processors the proxies run and on which everybody else.
type placement struct{ proxies, others []int }

// place gives proxies of n threads n processors of their own, if any are left then for the
// upstream and the load generator. Otherwise, where one thread of each shares two processors,
// it is the scheduler's whim whether the proxy and the upstream displace each other at every
// request, which costs more than any difference between proxies.
func place(n int) (placement, error) {
	var set unix.CPUSet
	if err := unix.SchedGetaffinity(0, &set); err != nil {
		return placement{}, fmt.Errorf("asking for the processors: %w", err)
	}
	var cpus []int
	for cpu := range len(set) * 64 {
		if set.IsSet(cpu) {
			cpus = append(cpus, cpu)
		}
	}
	if n >= len(cpus) {
		return placement{cpus, cpus}, nil
	}
	return placement{cpus[:n], cpus[n:]}, nil
}

// pin moves all threads of a process and its descendants to the processors. Threads made
// later inherit them.
func pin(root int, cpus []int) error {
	var set unix.CPUSet
	for _, cpu := range cpus {
		set.Set(cpu)
	}
	pids, err := processTree(root)
	if err != nil {
		return err
	}
	for _, pid := range pids {
		tasks, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
		if err != nil {
			return fmt.Errorf("listing threads: %w", err)
		}
		for _, task := range tasks {
			tid, err := strconv.Atoi(task.Name())
			if err != nil {
				return fmt.Errorf("reading thread %q: %w", task.Name(), err)
			}
			if err := unix.SchedSetaffinity(tid, &set); err != nil && !errors.Is(err, unix.ESRCH) {
				return fmt.Errorf("pinning thread %d: %w", tid, err)
			}
		}
	}
	return nil
}
