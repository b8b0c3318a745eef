// Checks the histories that come with Porcupine's module with Porcupine: porcupine DIRECTORY keyed|whole-10|whole-50.
//
// A JSON line for each history (name, verdict, milliseconds for the check alone, without reading the file) and one at the
// end for the peak memory of the process. The counterpart is the example `linearizability` of the crate dora-benches.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/anishathalye/porcupine"
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: porcupine DIRECTORY keyed|whole-10|whole-50")
		os.Exit(2)
	}
	if err := run(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, "failed to check the histories:", err)
		os.Exit(1)
	}
}

func run(directory, group string) error {
	kv := func(name string) string { return filepath.Join(directory, "kv", name+".txt") }
	switch group {
	case "keyed":
		logs, err := filepath.Glob(filepath.Join(directory, "jepsen", "etcd_*.log"))
		if err != nil {
			return err
		}
		for _, path := range logs {
			if err := report(path, register, readEtcd, 0); err != nil {
				return err
			}
		}
		for _, name := range []string{"c01-bad", "c01-ok", "c10-bad", "c10-ok", "c50-bad", "c50-ok"} {
			if err := report(kv(name), perKey, readKv, 0); err != nil {
				return err
			}
		}
	case "whole-10", "whole-50":
		limit := time.Duration(0)
		if group == "whole-50" {
			limit = time.Minute
		}
		for _, kind := range []string{"bad", "ok"} {
			if err := report(kv("c"+strings.TrimPrefix(group, "whole-")+"-"+kind), together, readKv, limit); err != nil {
				return err
			}
		}
	default:
		return fmt.Errorf("no group %q: keyed, whole-10 or whole-50", group)
	}
	peak, err := peakKiB()
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(map[string]any{"peak_kib": peak})
}

var names = map[porcupine.CheckResult]string{
	porcupine.Ok: "linearizable", porcupine.Illegal: "not linearizable", porcupine.Unknown: "unknown",
}

func report(path string, model porcupine.Model, read func(string) ([]porcupine.Event, error), limit time.Duration) error {
	history, err := read(path)
	if err != nil {
		return err
	}
	// In one of the runs the cluster did not start.
	if len(history) == 0 {
		return nil
	}
	start := time.Now()
	verdict := porcupine.CheckEventsTimeout(model, history, limit)
	took := time.Since(start)
	name := strings.TrimSuffix(filepath.Base(path), filepath.Ext(path))
	return json.NewEncoder(os.Stdout).Encode(map[string]any{
		"history": name, "verdict": names[verdict], "ms": float64(took.Nanoseconds()) / 1e6,
	})
}

// peakKiB is the most memory this process ever had, as the kernel counts it.
func peakKiB() (int, error) {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0, err
	}
	for _, line := range strings.Split(string(status), "\n") {
		if rest, found := strings.CutPrefix(line, "VmHWM:"); found {
			return number(strings.Fields(rest)[0]), nil
		}
	}
	return 0, fmt.Errorf("no VmHWM in /proc/self/status")
}
