package hub

import (
	"fmt"
	"net/url"
	"path"
	"strings"

	"github.com/avalnetwork/aval/internal/store"
)

const nameHost = "hf.co"

// Reference names a model of a repository.
type Reference struct {
	Repo string // user/repo
	Tag  string // a quantisation such as Q4_K_M, or a file name; "" lets Pull choose
}

// ParseReference reads hf.co/user/repo[:quant], huggingface.co/user/repo[:quant],
// user/repo[:quant], or the address of a repository or of a file on the web
// site. The quant may be a file name; "latest" is the same as none.
func ParseReference(s string) (Reference, error) {
	bad := func(format string, args ...any) (Reference, error) {
		return Reference{}, fmt.Errorf("hub: reference %q: %s; want hf.co/user/repo or hf.co/user/repo:quant", clip(s), fmt.Sprintf(format, args...))
	}
	name := s
	if scheme, rest, ok := strings.Cut(s, "://"); ok {
		if scheme != "https" && scheme != "http" {
			return bad("scheme %q is not known", clip(scheme))
		}
		var err error
		if name, err = fromAddress(rest); err != nil {
			return bad("%v", err)
		}
	}
	n, err := store.ParseName(name)
	if err != nil {
		return bad("%v", err)
	}
	parts := strings.Split(n.Base(), "/")
	switch {
	case len(parts) == 1:
		return bad("no user/ before the repository")
	case len(parts) == 3 && parts[0] != nameHost:
		return bad("models are pulled from %s only; for a mirror set HF_ENDPOINT", nameHost)
	case len(parts) == 3:
		parts = parts[1:]
	}
	r := Reference{Repo: strings.Join(parts, "/"), Tag: n.Tag()}
	if strings.EqualFold(r.Tag, "latest") {
		r.Tag = ""
	}
	if err := r.check(); err != nil {
		return Reference{}, err
	}
	return r, nil
}

// fromAddress turns the address of a page, without its scheme, into a name:
// host/user/repo, or host/user/repo/{blob,resolve,tree}/main/path/to/file.gguf.
func fromAddress(rest string) (string, error) {
	rest, _, _ = strings.Cut(rest, "#")
	rest, _, _ = strings.Cut(rest, "?")
	segs := strings.Split(strings.TrimSuffix(rest, "/"), "/")
	if len(segs) <= 3 {
		return strings.Join(segs, "/"), nil
	}
	if len(segs) < 5 || segs[3] != "blob" && segs[3] != "resolve" && segs[3] != "tree" {
		return "", fmt.Errorf("the address is not one of a repository or its files")
	}
	if segs[4] != "main" {
		return "", fmt.Errorf("revision %q: only main is supported", clip(segs[4]))
	}
	name := strings.Join(segs[:3], "/")
	last := segs[len(segs)-1]
	if len(segs) == 5 || !strings.HasSuffix(strings.ToLower(last), extGGUF) {
		return name, nil
	}
	last, err := url.PathUnescape(last)
	if err != nil {
		return "", err
	}
	return name + ":" + last, nil
}

// String returns the reference as ParseReference reads it.
func (r Reference) String() string {
	s := nameHost + "/" + r.Repo
	if r.Tag != "" {
		s += ":" + r.Tag
	}
	return s
}

func (r Reference) check() error {
	n, err := store.ParseName(r.String())
	if err != nil {
		return fmt.Errorf("hub: %w", err)
	}
	if n.String() != r.String() || strings.Count(r.Repo, "/") != 1 {
		return fmt.Errorf("hub: %q is not a repository; want user/repo", clip(r.Repo))
	}
	return nil
}

// storeName is the name the model is stored under: with the tag asked for, else
// with the label of the file that was chosen.
func (r Reference) storeName(first remoteFile) string {
	tag := r.Tag
	if tag == "" {
		tag = label(first.base())
	}
	if tag == "" {
		tag = "latest"
	}
	if up := strings.ToUpper(tag); label(up+extGGUF) == up {
		tag = up // quantisations are written in capitals
	}
	return Reference{Repo: r.Repo, Tag: tag}.String()
}

// remoteFile is one file of a repository.
type remoteFile struct {
	path string   // in the repository
	size int64    // -1: not known
	sha  string   // SHA-256, "" if not known
	git  string   // git's object id, "" if not known
	url  *url.URL // where its bytes are
}

func (f remoteFile) base() string { return path.Base(f.path) }

func clip(s string) string {
	const limit = 120
	if len(s) <= limit {
		return s
	}
	return s[:limit] + "..."
}
