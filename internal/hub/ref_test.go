package hub_test

import (
	"strings"
	"testing"

	"github.com/avalnetwork/aval/internal/hub"
)

func TestParseReference(t *testing.T) {
	for _, tc := range []struct{ in, repo, tag string }{
		{"hf.co/user/repo", "user/repo", ""},
		{"hf.co/user/Repo-GGUF:Q4_K_M", "user/Repo-GGUF", "Q4_K_M"},
		{"huggingface.co/user/repo:q8_0", "user/repo", "q8_0"},
		{"HF.CO/user/repo", "user/repo", ""},
		{"user/repo:latest", "user/repo", ""},
		{"user/repo:Q8_0", "user/repo", "Q8_0"},
		{"user/repo:m-Q4_0.gguf", "user/repo", "m-Q4_0.gguf"},
		{"https://huggingface.co/user/repo", "user/repo", ""},
		{"https://hf.co/user/repo:Q4_0", "user/repo", "Q4_0"},
		{"https://huggingface.co/user/repo/", "user/repo", ""},
		{"https://huggingface.co/user/repo/tree/main", "user/repo", ""},
		{"https://huggingface.co/user/repo/blob/main/m-Q4_0.gguf", "user/repo", "m-Q4_0.gguf"},
		{"https://huggingface.co/user/repo/resolve/main/sub/m%2DQ4_0.gguf?download=true", "user/repo", "m-Q4_0.gguf"},
	} {
		r, err := hub.ParseReference(tc.in)
		if err != nil || r.Repo != tc.repo || r.Tag != tc.tag {
			t.Errorf("ParseReference(%q) = %+v, %v", tc.in, r, err)
		}
	}
}

func TestParseReferenceRefuses(t *testing.T) {
	for _, tc := range []struct{ in, why string }{
		{"", "empty"},
		{"tiny", "no user/"},
		{"hf.co/repo", "want hf.co/user/repo"},
		{"hf.co/user/../etc", "more than three"},
		{"hf.co/user/..", "two dots"},
		{"hf.co/user/repo:", "colon"},
		{"hf.co/user/repo:a/b", "not allowed"},
		{"example.org/user/repo", "HF_ENDPOINT"},
		{"ftp://hf.co/user/repo", "scheme"},
		{"https://huggingface.co/user/repo/discussions/1", "not one of a repository"},
		{"https://huggingface.co/user/repo/blob/v2/m.gguf", "only main"},
		{"https://huggingface.co/user/repo/blob/main/%zz.gguf", "invalid URL escape"},
		{"https://huggingface.co/user/repo/blob/main/a%2fb.gguf", "not allowed"},
		{"user/repo@main", "not allowed"},
	} {
		if _, err := hub.ParseReference(tc.in); err == nil || !strings.Contains(err.Error(), tc.why) {
			t.Errorf("ParseReference(%q): %v; want an error saying %q", tc.in, err, tc.why)
		}
	}
}

func FuzzParseReference(f *testing.F) {
	for _, s := range []string{
		"hf.co/a/b", "huggingface.co/a/b:Q4_K_M", "a/b:latest", "https://huggingface.co/a/b/blob/main/x.gguf", "https://hf.co/a/b/resolve/main/%2e%2e.gguf", "../x",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		r, err := hub.ParseReference(s)
		if err != nil {
			return
		}
		again, err := hub.ParseReference(r.String())
		if err != nil || again != r {
			t.Fatalf("%q -> %+v -> %+v, %v", s, r, again, err)
		}
		if strings.Count(r.Repo, "/") != 1 || strings.Contains(r.Repo+r.Tag, "..") || strings.ContainsAny(r.Repo+r.Tag, "?#%\\ \x00") || strings.Contains(r.Tag, "/") {
			t.Fatalf("%q accepted as %+v", s, r)
		}
	})
}
