package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/avalnetwork/aval/internal/directory"
)

// TestData keeps notes on two devices.
func TestData(t *testing.T) {
	here, there := t.TempDir(), t.TempDir()
	run := func(dir string, args ...string) (int, string, string) {
		a, out, err := netApp(t, dir)
		code := execute(t.Context(), a, args)
		return code, out.String(), err.String()
	}
	must := func(dir string, args ...string) string {
		t.Helper()
		code, out, err := run(dir, args...)
		if code != exitOK {
			t.Fatalf("%v: %d: %s", args, code, err)
		}
		return out
	}
	if code, _, err := run(here, "data", "list"); code == exitOK || !strings.Contains(err, "aval net up") {
		t.Errorf("without a node: %d, %s", code, err)
	}
	local := []string{"--network", "lan", "--listen", "/ip4/127.0.0.1/tcp/0"}
	var friend netIDJSON
	if err := json.Unmarshal([]byte(must(there, "net", "id", "--json")), &friend); err != nil {
		t.Fatal(err)
	}
	me := up(t, here, append(local, "--friend", friend.ID.String())...)
	up(t, there, local...)
	must(there, "net", "add", me.Link)

	ticket := strings.TrimSpace(must(here, "data", "new", "notes"))
	must(here, "data", "set", "notes", "menu/monday", "soup")
	must(here, "data", "count", "notes", "visitors", "5")
	must(here, "data", "count", "notes", "visitors", "--", "-2")
	must(here, "data", "add", "notes", "members", "Ada")
	must(here, "data", "add", "notes", "members", "Eve")
	must(here, "data", "remove", "notes", "members", "Eve")
	must(here, "data", "append", "notes", "diary", "it rained")
	must(there, "data", "join", ticket)
	show := func(dir string) (out []string) {
		t.Helper()
		var list []dataEntryJSON
		if err := json.Unmarshal([]byte(must(dir, "data", "show", "--json", "notes")), &list); err != nil {
			t.Fatal(err)
		}
		for _, e := range list {
			text := e.Text
			if e.Number != nil {
				text = string(rune('0' + *e.Number))
			}
			out = append(out, e.Key+" "+e.Type+" "+text)
		}
		return out
	}
	want := []string{"diary log it rained", "members set Ada", "menu/monday register soup", "visitors counter 3"}
	for _, dir := range []string{here, there} {
		if got := show(dir); !slices.Equal(got, want) {
			t.Errorf("show: %q", got)
		}
	}
	if code, _, err := run(there, "data", "set", "notes", "menu/monday", "cake"); code == exitOK || !strings.Contains(err, "not granted") {
		t.Errorf("without a grant: %d, %s", code, err)
	}
	must(here, "data", "grant", "notes", friend.ID.String(), "--prefix", "menu/")
	must(there, "data", "sync", "notes")
	must(there, "data", "set", "notes", "menu/monday", "cake")
	must(there, "data", "sync", "notes", me.ID.String())
	if out := must(here, "data", "get", "notes", "menu/"); !strings.Contains(out, "cake") || !strings.Contains(out, friend.ID.String()) {
		t.Errorf("get: %s", out)
	}
	must(here, "data", "checkpoint", "notes")
	must(here, "data", "revoke", "notes", friend.ID.String())
	must(there, "data", "sync", "notes")
	if code, _, _ := run(there, "data", "set", "notes", "menu/monday", "pie"); code == exitOK {
		t.Error("after the revocation")
	}

	var list []dataJSON
	if err := json.Unmarshal([]byte(must(there, "data", "list", "--json")), &list); err != nil || len(list) != 1 || list[0].Ticket != ticket {
		t.Fatalf("list: %+v, %v", list, err)
	}
	root := list[0].Root.String()
	file := filepath.Join(here, "proof")
	if err := os.WriteFile(file, []byte(must(here, "data", "prove", "notes", "menu/monday")), 0o600); err != nil {
		t.Fatal(err)
	}
	if out := must(there, "data", "verify", "--root", root, file); !strings.Contains(out, "cake") {
		t.Errorf("verify: %s", out)
	}
	if code, _, _ := run(there, "data", "verify", "--root", strings.Repeat("0", 64), file); code == exitOK {
		t.Error("verify with another root")
	}
	if err := os.WriteFile(file, []byte(must(here, "data", "prove", "--element", "Eve", "notes", "members")), 0o600); err != nil {
		t.Fatal(err)
	}
	if out := must(there, "data", "verify", "--root", root, file); !strings.Contains(out, "has no set") {
		t.Errorf("verify of what is not there: %s", out)
	}
	must(there, "data", "leave", "notes")
	for _, args := range [][]string{
		{"data", "show", "notes"},
		{"data", "join", "nonsense"},
		{"data", "count", "notes", "x", "many"},
		{"data", "grant", "notes", "somebody"},
		{"net", "models", "--sort", "beauty"},
		{"net", "models", "--max-price", "3"},
		{"net", "models", "--root", "12"},
	} {
		if code, _, err := run(there, args...); code != exitUsage {
			t.Errorf("%v: %d, %s", args, code, err)
		}
	}
	// Others on the local network may offer something; these two do not.
	var offers []directory.Listing
	if err := json.Unmarshal([]byte(must(there, "net", "models", "--json")), &offers); err != nil || offers == nil {
		t.Errorf("net models: %v, %v", offers, err)
	}
	for _, o := range offers {
		if strings.Contains(me.Link, o.Provider.String()) || o.Provider == friend.ID {
			t.Errorf("net models: %+v", o)
		}
	}
	if out := must(there, "net", "models", "llama"); !strings.HasPrefix(out, "MODEL") {
		t.Errorf("net models: %s", out)
	}
}
