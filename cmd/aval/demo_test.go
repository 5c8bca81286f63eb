package main

import (
	"bytes"
	"context"
	"flag"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/avalnetwork/aval/internal/demo"
)

var (
	kills     = flag.Int("kills", 0, "in how many demos one of the seven nodes is killed, each another one; 0: none, as each takes half a minute")
	theVictim = flag.String("victim", "", "the node to kill (default: by chance)")
	theAfter  = flag.Duration("after", -1, "when it is killed (default: by chance)")
)

// TestDemoKills kills one of the nodes at some moment of a demo, which still ends,
// and truthfully.
func TestDemoKills(t *testing.T) {
	if *kills == 0 {
		t.Skip("starts seven nodes for each kill: -kills 7 lets each of them be killed once")
	}
	program, err := exec.LookPath("aval") // testscript has put it there
	if err != nil {
		t.Skip(err)
	}
	names := []string{"validator 1", "validator 2", "validator 3", "validator 4", "provider", "auditor", "liar"}
	rand.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
	for i := range *kills {
		victim, after := *theVictim, *theAfter
		if victim == "" {
			victim = names[i%len(names)]
		}
		if after < 0 {
			after = time.Duration(rand.IntN(15_000)) * time.Millisecond
		}
		t.Run(victim, func(t *testing.T) {
			t.Logf("-victim %q -after %v", victim, after)
			for _, name := range []string{"HOME", "USERPROFILE", "LocalAppData", "XDG_CACHE_HOME"} {
				t.Setenv(name, t.TempDir()) // the demo sets them
			}
			out := filepath.Join(t.TempDir(), "story.html")
			var told bytes.Buffer
			a := &app{in: strings.NewReader(""), out: &told, err: &told, getenv: os.Getenv}
			d := &demoRun{app: a, began: time.Now()}
			d.o = &demoOptions{out: out, limit: 90 * time.Second, keep: *theVictim != "", program: program, started: func(name string, p *os.Process) {
				if name == victim {
					time.AfterFunc(after, func() { _ = p.Kill() })
				}
			}}
			if err := a.demoIn(context.Background(), d); err != nil {
				t.Fatalf("%v\n%s", err, told.String())
			}
			t.Logf("%s", told.String())
			switch e := d.story.Ending; {
			case e == demo.Proved:
			case e == demo.Silent || e == demo.NoLie:
				if victim != "liar" {
					t.Errorf("the ending is %q, though %s was killed", e, victim)
				}
			default:
				t.Errorf("the ending is %q: %s", e, d.story.Why)
			}
			page, err := os.ReadFile(out)
			if err != nil || !strings.Contains(string(page), d.story.Title()) {
				t.Errorf("the page: %v", err)
			}
			for _, n := range d.nodes {
				if n.alive() {
					t.Errorf("%s still runs", n.name)
				}
			}
			if _, err := os.Stat(d.dir); !os.IsNotExist(err) && !d.o.keep {
				t.Errorf("the nodes' folders are still there: %v", err)
			}
		})
	}
}
