//go:build linux

package nat_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// A node is a process in a namespace. It reads commands as lines of JSON and
// answers each with a line that has the same number; several commands run at
// the same time.

// command is what the test asks a node for.
type command struct {
	ID        int      `json:"id"`
	Do        string   `json:"do"`
	Peer      string   `json:"peer,omitempty"`
	Addresses []string `json:"addresses,omitempty"`
	Size      int      `json:"size,omitempty"`       // bytes
	TimeoutMS int      `json:"timeout_ms,omitempty"` // of the whole command
}

// answer is what the node says.
type answer struct {
	ID        int             `json:"id"`
	Error     string          `json:"error,omitempty"`
	Peer      string          `json:"peer,omitempty"`
	Addresses []string        `json:"addresses,omitempty"`
	Relays    int             `json:"relays,omitempty"` // that keep a place for the node
	Relayed   bool            `json:"relayed,omitempty"`
	Address   string          `json:"address,omitempty"` // of the other end of the connection
	FirstByte float64         `json:"first_byte_ms,omitempty"`
	Total     float64         `json:"total_ms,omitempty"`
	Bytes     int             `json:"bytes,omitempty"`
	Text      string          `json:"text,omitempty"`
	Data      json.RawMessage `json:"data,omitempty"`
}

// nodeConfig is what a node is started with.
type nodeConfig struct {
	Name      string   `json:"name"`
	Seed      byte     `json:"seed"`
	Listen    []string `json:"listen"`
	Bootstrap []string `json:"bootstrap"`
	Relay     bool     `json:"relay"`
	// RelayBytes is what a relayed connection may carry; zero: the default.
	RelayBytes int64 `json:"relay_bytes,omitempty"`
	// ClockOffset is how far the node's clock is off, in seconds.
	ClockOffset int `json:"clock_offset,omitempty"`
	// NATPMP makes the process a router's server in place of a node.
	NATPMP *natPMPConfig `json:"natpmp,omitempty"`
}

// node is the test's end of such a process.
type node struct {
	t    testing.TB
	name string
	cmd  *exec.Cmd
	in   io.WriteCloser

	mu      sync.Mutex
	next    int
	waiting map[int]chan answer
	gone    chan struct{}

	id        string
	addresses []string
}

// start runs a node in a namespace.
func start(t testing.TB, ns string, cfg nodeConfig) *node {
	t.Helper()
	n := &node{t: t, name: cfg.Name, waiting: map[int]chan answer{}, gone: make(chan struct{})}
	n.spawn(ns, cfg)
	a := n.ask(command{Do: "info"}, 60*time.Second)
	if a.Error != "" {
		t.Fatalf("%s does not start: %s", cfg.Name, a.Error)
	}
	n.id, n.addresses = a.Peer, a.Addresses
	return n
}

// spawn starts the process.
func (n *node) spawn(ns string, cfg nodeConfig) {
	n.t.Helper()
	data, err := json.Marshal(cfg)
	if err != nil {
		n.t.Fatal(err)
	}
	n.cmd = exec.Command("ip", "netns", "exec", ns, "/proc/self/exe")
	exe, err := os.Executable()
	if err != nil {
		n.t.Fatal(err)
	}
	n.cmd.Args[4] = exe
	n.cmd.Env = append(os.Environ(), nodeVar+"="+string(data), "GOMAXPROCS=2")
	n.cmd.Stderr = os.Stderr
	n.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if n.in, err = n.cmd.StdinPipe(); err != nil {
		n.t.Fatal(err)
	}
	out, err := n.cmd.StdoutPipe()
	if err != nil {
		n.t.Fatal(err)
	}
	if err := n.cmd.Start(); err != nil {
		n.t.Fatal(err)
	}
	go n.read(out)
	n.t.Cleanup(n.stop)
}

// read hands out the answers.
func (n *node) read(out io.Reader) {
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		var a answer
		if err := json.Unmarshal(lines.Bytes(), &a); err != nil {
			fmt.Fprintf(os.Stderr, "%s: %s\n", n.name, lines.Text())
			continue
		}
		n.mu.Lock()
		c := n.waiting[a.ID]
		delete(n.waiting, a.ID)
		n.mu.Unlock()
		if c != nil {
			c <- a
		}
	}
	close(n.gone)
}

// ask gives the answer to a command; one of its own if none comes in time.
func (n *node) ask(c command, timeout time.Duration) answer {
	wait := make(chan answer, 1)
	n.mu.Lock()
	n.next++
	c.ID = n.next
	n.waiting[c.ID] = wait
	c.TimeoutMS = int(timeout / time.Millisecond)
	line, err := json.Marshal(c)
	if err == nil {
		_, err = n.in.Write(append(line, '\n'))
	}
	n.mu.Unlock()
	if err != nil {
		return answer{Error: "the process does not listen: " + err.Error()}
	}
	select {
	case a := <-wait:
		return a
	case <-n.gone:
		return answer{Error: "the process has ended"}
	case <-time.After(timeout + 10*time.Second):
		return answer{Error: "the process does not answer"}
	}
}

// stop ends the node; kill ends it as a power cut does.
func (n *node) stop() {
	_ = n.in.Close()
	select {
	case <-n.gone:
	case <-time.After(10 * time.Second):
		n.kill()
	}
	_ = n.cmd.Wait()
}

func (n *node) kill() { _ = syscall.Kill(-n.cmd.Process.Pid, syscall.SIGKILL) }

// nodeMain is the node's process.
func nodeMain() int {
	var cfg nodeConfig
	if err := json.Unmarshal([]byte(os.Getenv(nodeVar)), &cfg); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var b *backend
	var startErr error
	if cfg.NATPMP != nil {
		startErr = serveNATPMP(*cfg.NATPMP)
	} else if b, startErr = newBackend(ctx, cfg); startErr == nil {
		defer b.close()
	}
	var mu sync.Mutex
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var c command
		if err := json.Unmarshal(lines.Bytes(), &c); err != nil {
			fmt.Fprintln(os.Stderr, cfg.Name, err)
			continue
		}
		go func() {
			var a answer
			if startErr != nil {
				a.Error = startErr.Error()
			} else if b != nil {
				ctx, cancel := context.WithTimeout(ctx, time.Duration(c.TimeoutMS)*time.Millisecond)
				defer cancel()
				a = b.do(ctx, c)
			}
			a.ID = c.ID
			line, err := json.Marshal(a)
			if err != nil {
				line, _ = json.Marshal(answer{ID: c.ID, Error: err.Error()})
			}
			mu.Lock()
			defer mu.Unlock()
			os.Stdout.Write(append(line, '\n'))
		}()
	}
	return 0
}

func failed(err error) answer { return answer{Error: strings.TrimSpace(err.Error())} }

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
