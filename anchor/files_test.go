package anchor_test

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/avalnetwork/aval/anchor"
)

func encodeJSON(v any) ([]byte, error) { return json.Marshal(v) }

func TestKeys(t *testing.T) {
	path := filepath.Join(t.TempDir(), "key")
	k, err := anchor.NewKey(path, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if st, err := os.Stat(path); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("the mode is %v, %v", st.Mode(), err)
	}
	got, err := anchor.ReadKey(path)
	if err != nil || !got.Equal(k) {
		t.Errorf("read: %v", err)
	}
	if _, err := anchor.NewKey(path, rand.Reader); err == nil {
		t.Error("a key is overwritten")
	}
	if err := os.Chmod(path, 0o640); err != nil {
		t.Fatal(err)
	}
	if _, err := anchor.ReadKey(path); err == nil || !strings.Contains(err.Error(), "chmod 600") {
		t.Errorf("a key that others may read: %v", err)
	}
	secret := strings.Repeat("f", 64) // beyond the order of the curve
	if _, err := anchor.ParseKey(secret); err == nil || strings.Contains(err.Error(), secret) {
		t.Errorf("not a key: %v", err)
	}
}

func TestPlaces(t *testing.T) {
	want := state(5, 1)
	data, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	answer := data
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/moved":
			http.Redirect(w, r, "/state", http.StatusFound)
		case "/state":
			w.Write(answer)
		default:
			http.NotFound(w, r)
		}
	}))
	defer server.Close()
	file := filepath.Join(t.TempDir(), "state.json")
	if err := os.WriteFile(file, data, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, place := range []string{file, server.URL + "/state"} {
		got, err := anchor.Node{Place: anchor.Place(place)}.State(t.Context())
		if err != nil || got != want {
			t.Errorf("%s: %+v, %v", place, got, err)
		}
	}
	for _, place := range []string{
		file + "x", server.URL + "/moved", server.URL + "/none", "http://example.org/state", "https://127.0.0.1.example.org/", "http://[::ffff:8.8.8.8]/",
	} {
		if _, err := (anchor.Node{Place: anchor.Place(place)}).State(t.Context()); err == nil {
			t.Errorf("%s is read", place)
		}
	}
	for _, bad := range []string{"", "[]", "{}", `{"chain":"x","height":-1}`, `{"chain":"x","height":1,"root":"00"}`, `{"chain":"x","height":1}`, strings.Repeat(" ", 1<<20) + string(data)} {
		answer = []byte(bad)
		if _, err := (anchor.Node{Place: anchor.Place(server.URL + "/state")}).State(t.Context()); err == nil {
			t.Errorf("%.20q is read", bad)
		}
	}
}

func FuzzAttestations(f *testing.F) {
	f.Add([]byte(`{"chain":"x","height":1,"root":"` + strings.Repeat("00", 32) + `","chain_id":1,"contract":"0x0000000000000000000000000000000000000001","signature":"` + strings.Repeat("01", 65) + `"}`))
	f.Add([]byte(`[]`))
	f.Fuzz(func(t *testing.T, data []byte) {
		list, err := anchor.ParseAttestations(data)
		if err != nil {
			return
		}
		for i := range list {
			list[i].Signer() // whoever it is, it does not panic
		}
		again, err := json.Marshal(list)
		if err != nil {
			t.Fatal(err)
		}
		back, err := anchor.ParseAttestations(again)
		if err != nil || len(back) != len(list) || len(list) > 0 && back[0] != list[0] {
			t.Fatalf("%s: %v", again, err)
		}
	})
}

// TestJournal: what is saved is there after a restart, and what cannot be read
// is not taken for nothing.
func TestJournal(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal")
	j := anchor.FileJournal(path)
	if p, err := j.Load(); p != nil || err != nil {
		t.Fatalf("%v, %v", p, err)
	}
	want := &anchor.Pending{State: state(1, 1), Nonce: 3, Forms: []anchor.Form{{Raw: []byte{1}}}}
	if err := j.Save(want); err != nil {
		t.Fatal(err)
	}
	got, err := j.Load()
	if err != nil || got.Nonce != 3 || got.State != want.State || !bytes.Equal(got.Forms[0].Raw, []byte{1}) {
		t.Fatalf("%+v, %v", got, err)
	}
	if st, _ := os.Stat(path); st.Mode().Perm() != 0o600 {
		t.Errorf("the mode is %v", st.Mode())
	}
	if err := j.Save(nil); err != nil {
		t.Fatal(err)
	}
	if p, err := j.Load(); p != nil || err != nil {
		t.Fatalf("%v, %v", p, err)
	}
	if err := os.WriteFile(path, []byte(`{"nonce":`), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := j.Load(); err == nil {
		t.Error("half a journal is read")
	}
}
