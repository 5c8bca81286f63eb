package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// netApp is the command line of one device in a test.
func netApp(t *testing.T, dir string) (*app, *bytes.Buffer, *bytes.Buffer) {
	t.Helper()
	out, err := new(bytes.Buffer), new(bytes.Buffer)
	return &app{in: strings.NewReader(""), out: out, err: err, getenv: func(k string) string {
		return map[string]string{"AVAL_KEY": filepath.Join(dir, "node.key")}[k]
	}}, out, err
}

// up runs "aval net up" and returns what it prints first.
func up(t *testing.T, dir string, args ...string) netUpJSON {
	t.Helper()
	a, _, _ := netApp(t, dir)
	r, w := io.Pipe()
	a.out, a.err = w, io.Discard
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan int, 1)
	go func() { done <- execute(ctx, a, append([]string{"net", "up", "--json"}, args...)) }()
	t.Cleanup(func() {
		cancel()
		if code := <-done; code != exitOK {
			t.Errorf("net up ended with %d", code)
		}
	})
	var j netUpJSON
	if err := json.NewDecoder(r).Decode(&j); err != nil {
		t.Fatal(err)
	}
	return j
}

func TestNet(t *testing.T) {
	here, there := t.TempDir(), t.TempDir()
	a, out, _ := netApp(t, here)
	if code := execute(t.Context(), a, []string{"net", "id", "--json"}); code != exitOK {
		t.Fatal(code)
	}
	var me netIDJSON
	if err := json.Unmarshal(out.Bytes(), &me); err != nil || me.ID.Node() != me.Key {
		t.Fatalf("net id: %s, %v", out, err)
	}
	local := []string{"--network", "lan", "--listen", "/ip4/127.0.0.1/tcp/0"}
	other := up(t, there, append(local, "--friend", me.ID.String())...)
	run := func(args ...string) (int, string, string) {
		a, out, err := netApp(t, here)
		code := execute(t.Context(), a, slices.Concat([]string{"net", args[0]}, local, args[1:]))
		return code, out.String(), err.String()
	}

	code, text, _ := run("ping", "--json", "-c", "2", other.Addresses[0])
	var ping netPingJSON
	if err := json.Unmarshal([]byte(text), &ping); code != exitOK || err != nil || ping.Peer != other.ID || len(ping.Times) != 2 || ping.Way == "relay" {
		t.Errorf("ping: %d, %s, %v", code, text, err)
	}
	if code, text, _ := run("bench", "--time", "10ms", other.Addresses[0]); code != exitOK || !strings.Contains(text, "calls of 256 KiB, 8 at once") {
		t.Errorf("bench of a friend: %d, %s", code, text)
	}
	stranger := up(t, t.TempDir(), local...)
	if code, _, text := run("bench", "--time", "10ms", stranger.Addresses[0]); code != exitFailure || !strings.Contains(text, "permission denied") || !strings.Contains(text, "aval access grant "+me.ID.String()) {
		t.Errorf("bench of a stranger: %d, %s", code, text)
	}
	if code, text, _ := run("doctor", "--wait", "100ms", other.Addresses[0]); code != exitOK || !strings.Contains(text, "Can a friend reach me?") || !strings.Contains(text, "You can") {
		t.Errorf("doctor: %d, %s", code, text)
	}
	// A node that does not run: one that does may be found on the local network.
	nobody := "/ip4/127.0.0.1/tcp/1/p2p/12D3KooWGRUk3vbqvCXSVZa3cTsVwXyPVGTrCBTRnEMQ1RkXvYhR"
	if code, _, text := run("ping", nobody); code != exitFailure || !strings.Contains(text, "cannot be reached") {
		t.Errorf("nobody there: %d, %s", code, text)
	}
	for _, args := range [][]string{{"ping"}, {"ping", "x"}, {"ping", "--count", "0", nobody}, {"bench", "--time", "1h"}, {"up", "--network", "half"}, {"up", "--friend", "x"}, {"up", "x"}} {
		if code, _, text := run(args...); code != exitUsage {
			t.Errorf("net %v: %d, %s", args, code, text)
		}
	}
}

func TestNetAlone(t *testing.T) {
	j := up(t, t.TempDir(), "--network", "alone")
	if len(j.Addresses) != 0 {
		t.Errorf("a node alone has addresses: %v", j.Addresses)
	}
}

func TestNetPrivate(t *testing.T) {
	dir := t.TempDir()
	a, _, _ := netApp(t, dir)
	ours, theirs := filepath.Join(dir, "ours"), filepath.Join(dir, "theirs")
	for _, f := range []string{ours, theirs} {
		if code := execute(t.Context(), a, []string{"net", "new-private", f}); code != exitOK {
			t.Fatal(code)
		}
	}
	if code := execute(t.Context(), a, []string{"net", "new-private", ours}); code != exitUsage {
		t.Errorf("a key is replaced: %d", code)
	}
	local := []string{"--network", "lan", "--listen", "/ip4/127.0.0.1/tcp/0", "--private"}
	j := up(t, t.TempDir(), append(local, ours)...)
	ping := func(key string) (int, string) {
		a, _, err := netApp(t, dir)
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		return execute(ctx, a, append([]string{"net", "ping", "-c", "1", "--wait", "3s", j.Addresses[0]}, append(local, key)...)), err.String()
	}
	if code, text := ping(ours); code != exitOK {
		t.Errorf("with the key: %d, %s", code, text)
	}
	if code, text := ping(theirs); code != exitFailure || !strings.Contains(text, "another key of the network") {
		t.Errorf("with another key: %d, %s", code, text)
	}
}
