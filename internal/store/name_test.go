package store_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/avalnetwork/aval/internal/store"
)

func TestParseName(t *testing.T) {
	for _, tc := range []struct{ in, want string }{
		{"tiny", "tiny"},
		{"tiny:v1.2", "tiny:v1.2"},
		{"user/Repo-GGUF:Q4_K_M", "user/Repo-GGUF:Q4_K_M"},
		{"hf.co/user/repo", "hf.co/user/repo"},
		{"HuggingFace.co/User/repo:Q8_0", "hf.co/User/repo:Q8_0"},
		{"www.huggingface.co/u/r", "hf.co/u/r"},
		{"example.org/u/r:file-00001-of-00002.gguf", "example.org/u/r:file-00001-of-00002.gguf"},
		{"_a/b_", "_a/b_"},
		{"my.user/repo", "my.user/repo"},
	} {
		n, err := store.ParseName(tc.in)
		if err != nil || n.String() != tc.want {
			t.Errorf("ParseName(%q) = %q, %v; want %q", tc.in, n, err, tc.want)
		}
	}
}

func TestParseNameRefuses(t *testing.T) {
	for _, tc := range []struct{ in, why string }{
		{"", "empty"},
		{"a//b", "empty"},
		{"/abs", "empty"},
		{"a/", "empty"},
		{"a:", "colon"},
		{"a:b:c", "byte ':'"},
		{"..", "two dots"},
		{"../a", "two dots"},
		{"u/..", "two dots"},
		{"u/a..b", "two dots"},
		{".hidden", "begin or end"},
		{"a:.b", "begin or end"},
		{"-flag", "begin or end"},
		{`a\b`, "not allowed"},
		{"a b", "not allowed"},
		{"a\x00b", "not allowed"},
		{"é", "not allowed"},
		{"u/r:a/b", "not allowed"},
		{"c:/windows", "not allowed"},
		{"hf.co/repo", "want hf.co/user/repo"},
		{"hf.co/a/b/c", "more than three"},
		{"a/b/c", "not a host name"},
		{"nul.x", "device"},
		{"COM1.gguf", "device"},
		{strings.Repeat("a", 97), "at most 96"},
		{"a:" + strings.Repeat("a", 129), "at most 128"},
		{strings.Repeat("a", 221), "at most 220"},
	} {
		_, err := store.ParseName(tc.in)
		if !errors.Is(err, store.ErrName) || !strings.Contains(err.Error(), tc.why) {
			t.Errorf("ParseName(%q): %v; want ErrName saying %q", tc.in, err, tc.why)
		}
	}
}

func FuzzParseName(f *testing.F) {
	for _, s := range []string{"a", "a/b:c", "hf.co/a/b", "huggingface.co/a/b:Q4_0", "..", "a:", "con", "A.b/c_d:e-f"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		n, err := store.ParseName(s)
		if err != nil {
			return
		}
		again, err := store.ParseName(n.String())
		if err != nil || again != n {
			t.Fatalf("%q -> %q -> %q, %v", s, n, again, err)
		}
		if strings.Contains(n.String(), "..") || strings.ContainsAny(n.String(), "\\+@\x00") {
			t.Fatalf("%q accepted as %q", s, n)
		}
	})
}

func TestSplitName(t *testing.T) {
	for _, tc := range []struct {
		in     string
		prefix string
		i, n   int
		ok     bool
	}{
		{"m-Q8_0-00002-of-00003.gguf", "m-Q8_0", 2, 3, true},
		{"m-00001-of-00001.GGUF", "m", 1, 1, true},
		{"m-00004-of-00003.gguf", "", 0, 0, false},
		{"m-00000-of-00003.gguf", "", 0, 0, false},
		{"m-0001-of-00003.gguf", "", 0, 0, false},
		{"m-00001-of-0000x.gguf", "", 0, 0, false},
		{"-00001-of-00001.gguf", "", 0, 0, false},
		{"m.gguf", "", 0, 0, false},
	} {
		p, i, n, ok := store.SplitName(tc.in)
		if p != tc.prefix || i != tc.i || n != tc.n || ok != tc.ok {
			t.Errorf("SplitName(%q) = %q %d %d %v", tc.in, p, i, n, ok)
		}
	}
}
