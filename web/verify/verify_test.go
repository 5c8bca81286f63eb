package verify_test

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/base64"
	"io"
	"regexp"
	"strings"
	"testing"

	"github.com/avalnetwork/aval/web/verify"
)

func write(t *testing.T, program, runtime, look string) string {
	t.Helper()
	var b bytes.Buffer
	if err := verify.Write(&b, []byte(program), []byte(runtime), look); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestWrite(t *testing.T) {
	const look = "p { color: #123 }\n"
	page := write(t, "a program", "class Go {}", look)
	if page != write(t, "a program", "class Go {}", look) {
		t.Error("the same parts made different pages")
	}
	if m := regexp.MustCompile(`(src|href)="?(https?:|//)|@import|url\(`).FindString(page); m != "" {
		t.Errorf("the page needs something from elsewhere: %s", m)
	}

	// What may run and what may be shown is named by its hash.
	policy := find(t, page, `http-equiv="Content-Security-Policy" content="([^"]*)"`)
	for _, element := range []string{"script", "style"} {
		sum := sha256.Sum256([]byte(find(t, page, `(?s)<`+element+`>(.*?)</`+element+`>`)))
		if want := element + "-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"; !strings.Contains(policy, want) {
			t.Errorf("the policy %q lacks %q", policy, want)
		}
	}
	if !strings.HasPrefix(policy, "default-src 'none'; ") || strings.Contains(policy, "connect-src") || strings.Contains(policy, "unsafe-inline") {
		t.Errorf("the policy is %q", policy)
	}

	packed, err := base64.StdEncoding.DecodeString(find(t, page, `id="program">([^<]*)<`))
	if err != nil {
		t.Fatal(err)
	}
	z, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(z); err != nil || string(got) != "a program" {
		t.Errorf("the program became %q, %v", got, err)
	}
}

func find(t *testing.T, page, pattern string) string {
	t.Helper()
	m := regexp.MustCompile(pattern).FindStringSubmatch(page)
	if m == nil {
		t.Fatalf("the page has no %s", pattern)
	}
	return m[1]
}

func TestWriteRefuses(t *testing.T) {
	for _, parts := range [][2]string{{"x = '</SCRIPT>'", ""}, {"<!-- x", ""}, {"", "</style>"}} {
		if err := verify.Write(io.Discard, nil, []byte(parts[0]), parts[1]); err == nil {
			t.Errorf("%q made a page", parts)
		}
	}
}
