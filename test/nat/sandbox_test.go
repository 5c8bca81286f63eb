//go:build linux

package nat_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"strings"
	"syscall"
	"testing"
)

// The tests run in a process with network and mount namespaces of its own, so
// that nothing of the machine's network is seen or changed, and nothing is left
// behind, however the tests end: namespaces go with their last process.
const (
	insideVar = "AVAL_NAT_INSIDE" // set in the process that has its own namespaces
	nodeVar   = "AVAL_NAT_NODE"   // set in the processes that are one node each
)

// whySkip tells why the tests cannot run here; empty if they can.
var whySkip string

func TestMain(m *testing.M) {
	switch {
	case os.Getenv(nodeVar) != "":
		os.Exit(nodeMain())
	case os.Getenv(insideVar) != "":
		if err := enterSandbox(); err != nil {
			fmt.Fprintln(os.Stderr, "the namespaces for the tests:", err)
			os.Exit(1)
		}
		os.Exit(m.Run())
	}
	if whySkip = missing(); whySkip != "" {
		os.Exit(m.Run())
	}
	os.Exit(runInside())
}

// missing says what this machine lacks.
func missing() string {
	for _, tool := range []string{"ip", "nft"} {
		if _, err := exec.LookPath(tool); err != nil {
			return "the program " + tool + " is missing: install iproute2 and nftables"
		}
	}
	probe := exec.Command("/bin/sh", "-c", "mount -t tmpfs none /run && mkdir -p /run/netns && ip netns add probe && "+
		"ip netns exec probe sh -c 'ip link add b0 type bridge && ip link add v0 type veth peer name v1 && nft add table ip t && echo 1 > /proc/sys/net/ipv4/ip_forward'")
	probe.SysProcAttr = sandbox()
	if out, err := probe.CombinedOutput(); err != nil {
		return fmt.Sprintf("no network namespaces with bridges and nftables here (root is needed): %v: %s", err, strings.TrimSpace(string(out)))
	}
	return ""
}

// sandbox makes a process start in namespaces of its own. Without root the
// system may still allow it to be root within them.
func sandbox() *syscall.SysProcAttr {
	attr := &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	if os.Geteuid() != 0 {
		attr.Cloneflags |= syscall.CLONE_NEWUSER
		attr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}}
		attr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}
	}
	return attr
}

// runInside runs these tests again in the sandbox, and gives their exit status.
func runInside() int {
	runtime.LockOSThread() // Pdeathsig is about the thread that starts the process
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Env = append(os.Environ(), insideVar+"=1")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = sandbox()
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGQUIT)
	if err := cmd.Start(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	go func() {
		for s := range signals {
			_ = cmd.Process.Signal(s)
		}
	}()
	var exit *exec.ExitError
	switch err := cmd.Wait(); {
	case errors.As(err, &exit):
		return max(1, exit.ExitCode())
	case err != nil:
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// enterSandbox makes a place for the names of namespaces that only this process
// and its children see.
func enterSandbox() error {
	if err := syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
		return err
	}
	if err := syscall.Mount("none", "/run", "tmpfs", 0, ""); err != nil {
		return err
	}
	return os.MkdirAll("/run/netns", 0o755)
}
