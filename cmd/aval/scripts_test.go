package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// retry COMMAND runs a command until it succeeds: what it asks of runs beside.
func retry(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: retry COMMAND")
	}
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		err := ts.Exec(args[0], args[1:]...)
		if err == nil {
			return
		}
		if time.Now().After(end) {
			ts.Fatalf("%v: %v\n%s", args, err, ts.ReadFile("stderr"))
		}
	}
}

// setenv NAME sets a variable to the standard output of the last command.
func setEnv(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: setenv NAME")
	}
	ts.Setenv(args[0], strings.TrimSpace(ts.ReadFile("stdout")))
}

// inet counts the Internet sockets of the node whose state ("aval net peers
// --json") the last command printed: it wants some or, with !, none. Linux only.
func inet(ts *testscript.TestScript, neg bool, args []string) {
	var s struct{ Process int }
	if err := json.Unmarshal([]byte(ts.ReadFile("stdout")), &s); err != nil || s.Process == 0 || len(args) > 0 {
		ts.Fatalf("usage: inet, after \"aval net peers --json\" (%v)", err)
	}
	process := filepath.Join("/proc", fmt.Sprint(s.Process))
	var tables strings.Builder
	for _, name := range []string{"tcp", "tcp6", "udp", "udp6", "raw", "raw6"} {
		if text, err := os.ReadFile(filepath.Join(process, "net", name)); err == nil {
			tables.Write(text)
		}
	}
	list, err := os.ReadDir(filepath.Join(process, "fd"))
	ts.Check(err)
	count := 0
	for _, e := range list {
		target, _ := os.Readlink(filepath.Join(process, "fd", e.Name()))
		if inode, ok := strings.CutPrefix(target, "socket:["); ok && strings.Contains(tables.String(), " "+strings.TrimSuffix(inode, "]")+" ") {
			count++
		}
	}
	if (count == 0) != neg {
		ts.Fatalf("the node has %d Internet sockets", count)
	}
}
