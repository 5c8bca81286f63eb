package httpapi_test

import (
	"bufio"
	"bytes"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"github.com/avalnetwork/aval/internal/httpapi/fake"
)

var update = flag.Bool("update", false, "rewrite the recorded answers in testdata")

// TestPairs replays the recorded requests of testdata/*.txtar and compares the
// answers. A file "x.request" is followed by its "x.response".
func TestPairs(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no recorded pairs: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) { replay(t, file) })
	}
}

func replay(t *testing.T, file string) {
	archive, err := txtar.ParseFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var out txtar.Archive
	out.Comment = archive.Comment
	for i, f := range archive.Files {
		head, body, ok := cutBody(f)
		if !ok {
			continue
		}
		name := strings.TrimSuffix(f.Name, ".request")
		got := exchange(t, head, body)
		out.Files = append(out.Files, f, txtar.File{Name: name + ".response", Data: got})
		if *update {
			continue
		}
		if i+1 == len(archive.Files) || archive.Files[i+1].Name != name+".response" {
			t.Errorf("%s has no response; run the test with -update and read it", f.Name)
			continue
		}
		if diff := cmp.Diff(string(archive.Files[i+1].Data), string(got)); diff != "" {
			t.Errorf("%s: answer (-recorded +got):\n%s", f.Name, diff)
		}
	}
	if *update {
		if err := os.WriteFile(file, txtar.Format(&out), 0o666); err != nil {
			t.Fatal(err)
		}
	}
}

// cutBody divides a recorded request.
func cutBody(f txtar.File) (head string, body []byte, ok bool) {
	h, body, _ := bytes.Cut(f.Data, []byte("\n\n"))
	return string(h), body, strings.HasSuffix(f.Name, ".request")
}

// exchange sends a request as recorded, "METHOD PATH", headers, an empty line
// and a body, to a server that nobody has used before.
func exchange(t *testing.T, head string, body []byte) []byte {
	t.Helper()
	first, rest, _ := strings.Cut(head, "\n")
	var method, path string
	if _, err := fmt.Sscanf(first, "%s %s", &method, &path); err != nil {
		t.Fatalf("%q: %v", first, err)
	}
	r := httptest.NewRequest(method, path, bytes.NewReader(body))
	for line := range strings.Lines(rest) {
		k, v, _ := strings.Cut(strings.TrimSpace(line), ": ")
		r.Header.Set(k, v)
	}
	f := fake.New()
	w := httptest.NewRecorder()
	newServer(t, fake.Config(f)).Handler().ServeHTTP(w, r)
	if n := f.Opened.Load(); n != 0 {
		t.Errorf("%s: %d models were opened and not closed", first, n)
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "%d %s\n", w.Code, http.StatusText(w.Code))
	for _, k := range slices.Sorted(func(yield func(string) bool) {
		for k := range w.Header() {
			if !yield(k) {
				return
			}
		}
	}) {
		if k != "Content-Length" && k != "Vary" && k != "Cache-Control" && k != "X-Accel-Buffering" {
			fmt.Fprintf(&b, "%s: %s\n", k, strings.Join(w.Header()[k], ", "))
		}
	}
	b.WriteByte('\n')
	lines := bufio.NewReader(w.Body)
	for {
		line, err := lines.ReadString('\n')
		b.WriteString(line)
		if err == io.EOF {
			if line != "" {
				b.WriteByte('\n')
			}
			return b.Bytes()
		}
	}
}
