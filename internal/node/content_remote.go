package node

import (
	"context"
	"crypto/rand"
	"time"

	"github.com/avalnetwork/aval/internal/content"
)

// progressEvery is how often a command asks the running node how far it is.
const progressEvery = 250 * time.Millisecond

// follow tells progress how far a job is until stop is called.
func (r *Remote) follow(ctx context.Context, progress func(Progress)) (job string, stop func()) {
	if progress == nil {
		return "", func() {}
	}
	job = rand.Text()
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-ctx.Done():
				return
			case <-time.After(progressEvery):
			}
			var m Progress
			if err := r.client.Call(ctx, "progress", job, &m); err == nil && m.Total > 0 {
				progress(m)
			}
		}
	}()
	return job, func() {
		cancel()
		<-done
	}
}

// Share is Node.Share.
func (r *Remote) Share(ctx context.Context, in ShareRequest, progress func(Progress)) (out Shared, err error) {
	job, stop := r.follow(ctx, progress)
	defer stop()
	in.Job = job
	err = r.client.Call(ctx, "share", in, &out)
	return out, err
}

// Shares is Node.Shares.
func (r *Remote) Shares(ctx context.Context) (out []Shared, err error) {
	err = r.client.Call(ctx, "shares", struct{}{}, &out)
	return out, err
}

// Pin is Node.Pin.
func (r *Remote) Pin(ctx context.Context, root content.Root, pinned bool) error {
	return r.client.Call(ctx, "pin", pinRequest{root, pinned}, nil)
}

// Unshare is Node.Unshare.
func (r *Remote) Unshare(ctx context.Context, root content.Root) error {
	return r.client.Call(ctx, "unshare", root, nil)
}

// Pull is Node.Pull.
func (r *Remote) Pull(ctx context.Context, in PullRequest, progress func(Progress)) (out Pulled, err error) {
	job, stop := r.follow(ctx, progress)
	defer stop()
	in.Job = job
	err = r.client.Call(ctx, "pull", in, &out)
	return out, err
}

// Inspect is Node.Inspect.
func (r *Remote) Inspect(ctx context.Context, l ContentLink) (out Statement, err error) {
	err = r.client.Call(ctx, "inspect", l, &out)
	return out, err
}

// ReadContent is Node.ReadContent.
func (r *Remote) ReadContent(ctx context.Context, in ReadRequest) (out []byte, err error) {
	err = r.client.Call(ctx, "read", in, &out)
	return out, err
}

// Settle is Node.Settle.
func (r *Remote) Settle(ctx context.Context, root content.Root, files []string) error {
	return r.client.Call(ctx, "settle", settleRequest{root, files}, nil)
}
