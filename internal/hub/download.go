package hub

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"

	"github.com/avalnetwork/aval/internal/store"
)

// download brings one file's bytes into its staged place.
type download struct {
	pull   *pull
	client *client
	file   remoteFile
	staged *store.Staged
	joined bool // the bytes are from more than one answer
}

// partialState is kept beside the partial bytes.
type partialState struct {
	ETag string `json:"etag"` // of the answer they came in
}

// run downloads what is missing. On an error that is not the file's fault the
// partial bytes stay.
func (d *download) run(ctx context.Context) error {
	if d.staged.Present() {
		return nil
	}
	d.joined = d.staged.Size() > 0
	if err := d.staged.Resume(ctx); err != nil {
		return err
	}
	for {
		if err := d.bytes(ctx); err != nil {
			return err
		}
		err := d.staged.Finish(ctx)
		if err == nil {
			return nil
		}
		if m := (*store.MismatchError)(nil); !errors.As(err, &m) {
			return err
		}
		if !d.joined {
			return fmt.Errorf("%s: %w; the download was discarded: the file on the server is damaged, or was changed on the way",
				show(d.file.url), err)
		}
		// The fault may lie with what an earlier attempt left, or at the joint.
		d.joined = false
		d.client.onRetry(fmt.Sprintf("%v; downloading all of it again", err))
	}
}

// bytes makes attempts until all bytes are there.
func (d *download) bytes(ctx context.Context) error {
	want := d.staged.Want()
	best, failures := d.staged.Size(), 0
	for range maxAttempts {
		err := d.attempt(ctx)
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return fmt.Errorf("%s: stopped at %d of %d bytes, which are kept: %w", want.Path, d.staged.Size(), want.Size, context.Cause(ctx))
		}
		if !temporary(ctx, err) {
			return fmt.Errorf("%s: %w", want.Path, err)
		}
		failures++
		if n := d.staged.Size(); n > best {
			best, failures = n, 1
		}
		if failures >= d.client.cfg.Attempts {
			return fmt.Errorf("%s: gave up after %d attempts without progress; %d of %d bytes are kept, pull again to go on: %w",
				want.Path, failures, d.staged.Size(), want.Size, err)
		}
		if err := d.client.pause(ctx, failures, err); err != nil {
			return fmt.Errorf("%s: stopped at %d of %d bytes, which are kept: %w", want.Path, d.staged.Size(), want.Size, err)
		}
	}
	return fmt.Errorf("%s: gave up after %d attempts; %d of %d bytes are kept, pull again to go on",
		want.Path, maxAttempts, d.staged.Size(), want.Size)
}

// attempt makes one request for the missing bytes.
func (d *download) attempt(ctx context.Context) error {
	want := d.staged.Want()
	offset := d.staged.Size()
	d.pull.setDone(want.SHA256, offset)
	if offset == want.Size {
		return nil
	}
	header := http.Header{"Accept-Encoding": {"identity"}}
	etag := d.etag()
	if offset > 0 {
		header.Set("Range", fmt.Sprintf("bytes=%d-", offset))
		if strong(etag) {
			header.Set("If-Range", etag)
		}
	}
	st, err := d.client.send(ctx, d.client.follow, http.MethodGet, d.file.url, header)
	if err != nil {
		return err
	}
	defer st.Close()
	got := st.Header.Get("ETag")
	if len(got) > maxETag {
		got = ""
	}
	switch {
	case st.StatusCode == http.StatusOK:
		err = d.startOver(st, offset, etag, got)
	case st.StatusCode == http.StatusPartialContent && offset > 0:
		err = d.goOn(st, offset, etag, got)
	case st.StatusCode == http.StatusRequestedRangeNotSatisfiable && offset > 0:
		err = d.reset("the server cannot go on at byte %d", offset)
	case st.StatusCode >= 200 && st.StatusCode < 300:
		err = permanent("GET %s: unexpected status %s", show(d.file.url), printable(st.Status))
	default:
		return d.client.refusal(st, d.pull.ref.Repo)
	}
	if err != nil {
		return err
	}
	return d.copy(st)
}

// startOver prepares for an answer with the whole file.
func (d *download) startOver(st *stream, offset int64, old, got string) error {
	want := d.staged.Want()
	d.joined = false
	if n := st.ContentLength; n >= 0 && n != want.Size {
		return &permanentError{errors.Join(
			&store.MismatchError{File: "the answer to GET " + show(d.file.url), WantSHA256: want.SHA256, WantSize: want.Size, GotSize: n},
			d.staged.Reset())}
	}
	if offset > 0 { // the server ignores ranges, or has another version now
		if err := d.staged.Reset(); err != nil {
			return &permanentError{err}
		}
		d.pull.setDone(want.SHA256, 0)
	}
	if got == old && offset == 0 {
		return nil
	}
	b, err := json.Marshal(partialState{ETag: got})
	if err == nil {
		err = d.staged.SetState(b)
	}
	if err != nil {
		return &permanentError{err}
	}
	return nil
}

// goOn checks that an answer is the rest of what we have.
func (d *download) goOn(st *stream, offset int64, old, got string) error {
	want := d.staged.Want()
	first, total, ok := contentRange(st.Header.Get("Content-Range"))
	if !ok || first != offset {
		return d.reset("asked for bytes from %d, the server answered %q", offset, printable(st.Header.Get("Content-Range")))
	}
	if total >= 0 && total != want.Size {
		return &permanentError{errors.Join(
			&store.MismatchError{File: "the answer to GET " + show(d.file.url), WantSHA256: want.SHA256, WantSize: want.Size, GotSize: total},
			d.staged.Reset())}
	}
	if strong(old) && strong(got) && old != got {
		return d.reset("the file has changed on the server")
	}
	d.joined = true
	return nil
}

// reset discards the partial bytes; the error it returns lets the next attempt
// begin at 0.
func (d *download) reset(format string, args ...any) error {
	if err := d.staged.Reset(); err != nil {
		return &permanentError{err}
	}
	d.pull.setDone(d.staged.Want().SHA256, 0)
	return fmt.Errorf(format, args...)
}

// copy appends an answer's body to the staged file.
func (d *download) copy(st *stream) error {
	want := d.staged.Want()
	buf := make([]byte, readBuffer)
	for {
		n, err := st.Read(buf)
		if d.staged.Size()+int64(n) > want.Size {
			return &permanentError{errors.Join(
				fmt.Errorf("GET %s: the server sends more than the expected %d bytes", show(d.file.url), want.Size), d.staged.Reset())}
		}
		if n > 0 {
			if _, err := d.staged.Write(buf[:n]); err != nil {
				return &permanentError{err}
			}
			d.pull.setDone(want.SHA256, d.staged.Size())
			d.pull.tell(Progress{Phase: Downloading, File: want.Path})
		}
		if errors.Is(err, io.EOF) {
			err = nil
			if d.staged.Size() < want.Size {
				err = fmt.Errorf("GET %s: the answer ended at byte %d of %d", show(d.file.url), d.staged.Size(), want.Size)
			}
			return err
		}
		if err != nil {
			return fmt.Errorf("GET %s: %w", show(d.file.url), err)
		}
	}
}

func (d *download) etag() string {
	var s partialState
	if json.Unmarshal(d.staged.State(), &s) != nil || len(s.ETag) > maxETag || strings.ContainsAny(s.ETag, "\r\n\x00") {
		return ""
	}
	return s.ETag
}

// strong reports whether an ETag may stand in If-Range (RFC 9110, 13.1.5).
func strong(etag string) bool {
	return len(etag) >= 2 && etag[0] == '"' && etag[len(etag)-1] == '"'
}

// contentRange reads "bytes first-last/total"; total is -1 for "*".
func contentRange(s string) (first, total int64, ok bool) {
	s, ok = strings.CutPrefix(s, "bytes ")
	if !ok {
		return 0, 0, false
	}
	span, size, ok1 := strings.Cut(s, "/")
	from, _, ok2 := strings.Cut(span, "-")
	first, err := strconv.ParseInt(from, 10, 64)
	if !ok1 || !ok2 || err != nil || first < 0 {
		return 0, 0, false
	}
	if size == "*" {
		return first, -1, true
	}
	total, err = strconv.ParseInt(size, 10, 64)
	return first, total, err == nil && total >= 0
}
