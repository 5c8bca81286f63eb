package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/avalnetwork/aval/gguf"
	"github.com/avalnetwork/aval/models"
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

// port NAME sets a variable to a TCP port of this machine that nobody uses.
func port(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: port NAME")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	ts.Check(err)
	defer l.Close()
	ts.Setenv(args[0], strconv.Itoa(l.Addr().(*net.TCPAddr).Port))
}

// mini FILE writes the built-in model, as of an hour ago.
func mini(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: mini FILE")
	}
	path, then := ts.MkAbs(args[0]), time.Now().Add(-time.Hour)
	ts.Check(os.WriteFile(path, []byte(models.Mini()), 0o600))
	ts.Check(os.Chtimes(path, then, then))
}

// spoil FILE TENSOR zeroes the first half of a tensor of a model in place, and
// leaves the file's size and times: whoever noted its fingerprint before takes it
// for what it was.
func spoil(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: spoil FILE TENSOR")
	}
	path := ts.MkAbs(args[0])
	f, err := gguf.Open(path)
	ts.Check(err)
	tensor := f.Tensor(args[1])
	if tensor == nil {
		ts.Fatalf("%s has no tensor %s", args[0], args[1])
	}
	data := bytes.Clone(f.Data(tensor))
	ts.Check(f.Close())
	file, err := os.ReadFile(path)
	ts.Check(err)
	at := bytes.Index(file, data)
	clear(file[at : at+len(data)/2])
	info, err := os.Stat(path)
	ts.Check(err)
	ts.Check(os.WriteFile(path, file, 0o600)) // the same inode
	ts.Check(os.Chtimes(path, info.ModTime(), info.ModTime()))
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
