package hub

import (
	"context"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

const (
	branch     = "main"
	mimeJSON   = "application/json"
	mimeOCI    = "application/vnd.docker.distribution.manifest.v2+json, application/vnd.oci.image.manifest.v1+json"
	modelLayer = "application/vnd.ollama.image.model"
)

// resolve returns the files of the model that ref names, in order, each with
// size and SHA-256, and where they are from.
func (c *client) resolve(ctx context.Context, ref Reference) (files []remoteFile, source string, err error) {
	// Listing and HEAD are two requests, and the repository may change between
	// them. HEAD tells the commit; if it contradicts the listing, the listing of
	// that commit settles it.
	revision := branch
	for range 2 {
		all, rev, err := c.list(ctx, ref.Repo, revision)
		if status(err) == http.StatusNotFound {
			if file, errOCI := c.fromRegistry(ctx, ref); errOCI == nil {
				return []remoteFile{file}, show(file.url), nil
			}
		}
		if err != nil {
			return nil, "", err
		}
		if files, err = choose(ref, all); err != nil {
			return nil, "", err
		}
		commit, agree, err := c.complete(ctx, ref.Repo, rev, files)
		if err != nil {
			return nil, "", err
		}
		if agree {
			return files, show(c.url("", ref.Repo)) + "@" + commit, nil
		}
		if commit == revision {
			break
		}
		revision = commit
	}
	return nil, "", fmt.Errorf("%s/%s: the server's listing and its files disagree on size or SHA-256", c.base.Host, ref.Repo)
}

func status(err error) int {
	if se := (*StatusError)(nil); errors.As(err, &se) {
		return se.Status
	}
	return 0
}

// list returns the files of a repository at a revision, and that revision.
func (c *client) list(ctx context.Context, repo, revision string) ([]remoteFile, string, error) {
	files, err := c.tree(ctx, repo, revision)
	if status(err) != http.StatusNotFound || revision != branch {
		return files, revision, err
	}
	// A repository whose branch has another name, or a server that lists commits only.
	if commit, err := c.headCommit(ctx, repo); err == nil {
		files, err = c.tree(ctx, repo, commit)
		return files, commit, err
	}
	if files, errInfo := c.siblings(ctx, repo); errInfo == nil {
		return files, branch, nil
	}
	return nil, "", err
}

// siblings lists a repository by its description, which has less in it: the
// rest is asked for file by file.
func (c *client) siblings(ctx context.Context, repo string) ([]remoteFile, error) {
	var info struct {
		Siblings []struct {
			Path string `json:"rfilename"`
		} `json:"siblings"`
	}
	if _, err := c.getJSON(ctx, repo, c.url("", "api", "models", repo), mimeJSON, &info); err != nil {
		return nil, err
	}
	if len(info.Siblings) == 0 {
		return nil, permanent("%s has no files", repo)
	}
	var out []remoteFile
	for _, e := range info.Siblings {
		if validPath(e.Path) {
			out = append(out, remoteFile{path: e.Path, size: -1, url: c.url("", repo, "resolve", branch, e.Path)})
		}
	}
	return out, nil
}

// headCommit returns the commit of the repository's main branch, or of the
// first branch if none has that name.
func (c *client) headCommit(ctx context.Context, repo string) (string, error) {
	var refs struct {
		Branches []struct {
			Name   string `json:"name"`
			Commit string `json:"targetCommit"`
		} `json:"branches"`
	}
	if _, err := c.getJSON(ctx, repo, c.url("", "api", "models", repo, "refs"), mimeJSON, &refs); err != nil {
		return "", err
	}
	commit := ""
	for _, b := range refs.Branches {
		if isHex(b.Commit, 40) && (commit == "" || b.Name == branch) {
			commit = b.Commit
		}
	}
	if commit == "" {
		return "", permanent("%s has no branch", repo)
	}
	return commit, nil
}

// tree lists a repository, page by page.
func (c *client) tree(ctx context.Context, repo, revision string) ([]remoteFile, error) {
	var out []remoteFile
	u := c.url("recursive=true", "api", "models", repo, "tree", revision)
	for page := 1; ; page++ {
		if page > maxPages {
			return nil, fmt.Errorf("the listing of %s has more than %d pages", repo, maxPages)
		}
		var entries []struct {
			Type string `json:"type"`
			Path string `json:"path"`
			OID  string `json:"oid"`
			Size *int64 `json:"size"`
			LFS  *struct {
				OID  string `json:"oid"`
				Size int64  `json:"size"`
			} `json:"lfs"`
		}
		header, err := c.getJSON(ctx, repo, u, mimeJSON, &entries)
		if err != nil {
			return nil, err
		}
		for _, e := range entries {
			if e.Type != "file" || !validPath(e.Path) {
				continue
			}
			f := remoteFile{path: e.Path, size: -1, url: c.url("", repo, "resolve", revision, e.Path)}
			if e.Size != nil {
				f.size = max(*e.Size, -1)
			}
			switch {
			case e.LFS != nil:
				f.sha = hashIn(e.LFS.OID)
				if e.LFS.Size > 0 {
					f.size = e.LFS.Size
				}
			case isHex(e.OID, 40):
				f.git = e.OID
			}
			out = append(out, f)
		}
		if len(out) > maxEntries {
			return nil, fmt.Errorf("%s has more than %d files", repo, maxEntries)
		}
		if u = c.next(u, header); u == nil {
			return out, nil
		}
	}
}

// next returns the URL of the next page, nil if there is none. A mirror may
// pass on links to the original; they are followed at the mirror.
func (c *client) next(u *url.URL, header http.Header) *url.URL {
	for _, line := range header.Values("Link") {
		for link := range strings.SplitSeq(line, ",") {
			target, params, ok := strings.Cut(strings.TrimSpace(link), ">")
			if !ok || !strings.HasPrefix(target, "<") || !strings.Contains(strings.ReplaceAll(params, `"`, ""), "rel=next") {
				continue
			}
			n, err := u.Parse(target[1:])
			if err != nil {
				continue
			}
			n.Scheme, n.Host, n.User = c.base.Scheme, c.base.Host, nil
			return n
		}
	}
	return nil
}

// validPath reports whether a path in a repository is one we may use.
func validPath(p string) bool {
	if p == "" || len(p) > maxPath || strings.ContainsAny(p, "\\\x00") {
		return false
	}
	for s := range strings.SplitSeq(p, "/") {
		if s == "" || s == "." || s == ".." {
			return false
		}
	}
	return true
}

// isHex reports whether s is n lower-case hex digits.
func isHex(s string, n int) bool {
	return len(s) == n && strings.Trim(s, "0123456789abcdef") == ""
}

// hashIn returns the SHA-256 in an ETag or an object id, "" if it is not one.
func hashIn(tag string) string {
	tag = strings.ToLower(strings.Trim(strings.TrimPrefix(strings.TrimPrefix(tag, "W/"), "sha256:"), `"`))
	if isHex(tag, 64) {
		return tag
	}
	return ""
}

// complete finds out what the listing did not tell of the chosen files, and
// pins them to one commit. agree is false if the files themselves are not those
// of the listing.
func (c *client) complete(ctx context.Context, repo, revision string, files []remoteFile) (commit string, agree bool, err error) {
	commit = revision
	for i := range files {
		f := &files[i]
		if i > 0 && f.sha != "" && f.size >= 0 {
			continue // the first file told the commit
		}
		m, err := c.head(ctx, repo, f.url)
		if err != nil {
			return "", false, err
		}
		if isHex(m.commit, 40) && i == 0 {
			commit = m.commit
		}
		if f.sha == "" {
			f.sha = m.sha
		}
		if f.size < 0 {
			f.size = m.size
		}
		if f.size < 0 {
			return "", false, fmt.Errorf("%s: the server does not tell its size", f.path)
		}
		if m.sha != "" && m.sha != f.sha || m.size >= 0 && m.size != f.size {
			return commit, false, nil
		}
	}
	for i := range files {
		f := &files[i]
		f.url = c.url("", repo, "resolve", commit, f.path)
		if f.sha != "" {
			continue
		}
		if err := c.hashPlain(ctx, repo, f); err != nil {
			return "", false, err
		}
	}
	return commit, true, nil
}

// meta is what HEAD tells of a file.
type meta struct {
	sha, commit string // "" if not told
	size        int64  // -1 if not told
}

// head asks for a file's facts. They come with the redirect to where the bytes
// are, which therefore is not followed; one within the endpoint (a repository
// that was renamed) is.
func (c *client) head(ctx context.Context, repo string, u *url.URL) (meta, error) {
	var m meta
	err := c.try(ctx, func() error {
		at := u
		for range maxRedirects {
			st, err := c.send(ctx, c.single, http.MethodHead, at, http.Header{"Accept-Encoding": {"identity"}})
			if err != nil {
				return err
			}
			st.Close()
			if to := moved(st); to != nil && sameOrigin(to, c.base) && st.Header.Get("X-Linked-Etag") == "" {
				at = to
				continue
			}
			m, err = c.readMeta(st, repo)
			return err
		}
		return permanent("HEAD %s: more than %d redirects", show(u), maxRedirects)
	})
	return m, err
}

func moved(st *stream) *url.URL {
	if st.StatusCode < 300 || st.StatusCode >= 400 {
		return nil
	}
	to, err := st.Location()
	if err != nil {
		return nil
	}
	return to
}

func (c *client) readMeta(st *stream, repo string) (meta, error) {
	h := st.Header
	m := meta{commit: h.Get("X-Repo-Commit"), sha: hashIn(h.Get("X-Linked-Etag")), size: -1}
	if n, err := strconv.ParseInt(h.Get("X-Linked-Size"), 10, 64); err == nil {
		m.size = n
	}
	switch {
	case st.StatusCode == http.StatusMethodNotAllowed || st.StatusCode == http.StatusNotImplemented:
		return meta{size: -1}, nil // then the listing must do
	case st.StatusCode >= 300 && st.StatusCode < 400:
		return m, nil
	case st.StatusCode != http.StatusOK:
		return meta{}, c.refusal(st, repo)
	}
	if m.sha == "" {
		m.sha = hashIn(h.Get("ETag"))
	}
	if m.size < 0 && st.ContentLength > 0 { // 0 is what a careless server says to HEAD
		m.size = st.ContentLength
	}
	return m, nil
}

// hashPlain finds the SHA-256 of a small file that the repository keeps in git
// itself: it reads the file and checks it against git's object id, a SHA-1 over
// "blob <size>\0" and the contents.
func (c *client) hashPlain(ctx context.Context, repo string, f *remoteFile) error {
	if f.git == "" || f.size > maxPlainFile {
		return fmt.Errorf("%s: the server does not tell its SHA-256, so the file cannot be checked", f.path)
	}
	return c.try(ctx, func() error {
		st, err := c.send(ctx, c.follow, http.MethodGet, f.url, http.Header{"Accept-Encoding": {"identity"}})
		if err != nil {
			return err
		}
		defer st.Close()
		if st.StatusCode != http.StatusOK {
			return c.refusal(st, repo)
		}
		data, err := io.ReadAll(io.LimitReader(st, f.size+1))
		if err != nil {
			return fmt.Errorf("GET %s: %w", show(f.url), err)
		}
		id := sha1.Sum(fmt.Appendf(nil, "blob %d\x00%s", len(data), data))
		if got := hex.EncodeToString(id[:]); got != f.git {
			return permanent("%s: git object id is %s, expected %s", f.path, got, f.git)
		}
		sum := sha256.Sum256(data)
		f.sha = hex.EncodeToString(sum[:])
		return nil
	})
}

// fromRegistry asks for the model by the container registry's API, which
// Hugging Face also speaks and some servers speak alone.
func (c *client) fromRegistry(ctx context.Context, ref Reference) (remoteFile, error) {
	tag := ref.Tag
	if tag == "" {
		tag = "latest"
	}
	var m struct {
		Layers []struct {
			MediaType string `json:"mediaType"`
			Digest    string `json:"digest"`
			Size      int64  `json:"size"`
		} `json:"layers"`
	}
	if _, err := c.getJSON(ctx, ref.Repo, c.url("", "v2", ref.Repo, "manifests", tag), mimeOCI, &m); err != nil {
		return remoteFile{}, err
	}
	for _, l := range m.Layers {
		if sha := hashIn(l.Digest); l.MediaType == modelLayer && sha != "" && l.Size >= 0 {
			_, name, _ := strings.Cut(ref.Repo, "/")
			return remoteFile{
				path: name + "-" + strings.TrimSuffix(tag, extGGUF) + extGGUF, size: l.Size, sha: sha,
				url: c.url("", "v2", ref.Repo, "blobs", l.Digest),
			}, nil
		}
	}
	return remoteFile{}, permanent("the manifest of %s has no model", ref)
}
