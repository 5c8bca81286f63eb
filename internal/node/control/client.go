package control

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"time"

	"github.com/avalnetwork/aval/internal/rpc"
)

// dialTime bounds the way to the door; calls take as long as their context.
const dialTime = 2 * time.Second

// Client calls the methods of a running node.
type Client struct {
	Process int
	Since   time.Time
	door    door
	http    *http.Client
}

// Dial finds the node that runs on a folder, or returns ErrNotRunning.
func Dial(ctx context.Context, path string) (*Client, error) {
	d, err := readDoor(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, ErrNotRunning
	}
	if err != nil {
		return nil, fmt.Errorf("control: %w", err)
	}
	address := d.Address
	switch d.Network {
	case "unix":
		address = filepath.Join(path, filepath.Base(d.Address))
	case "tcp":
		if host, _, err := net.SplitHostPort(address); err != nil || host != "127.0.0.1" {
			return nil, fmt.Errorf("control: %s names an address that is not this machine's", filepath.Join(path, doorFile))
		}
	default:
		return nil, fmt.Errorf("control: %s is damaged: remove it", filepath.Join(path, doorFile))
	}
	dialer := net.Dialer{Timeout: dialTime}
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return dialer.DialContext(ctx, d.Network, address)
	}
	conn, err := dial(ctx, "", "")
	if err != nil { // nobody listens: the process died
		return nil, ErrNotRunning
	}
	conn.Close()
	return &Client{d.Process, d.Since, d, &http.Client{Transport: &http.Transport{DialContext: dial}}}, nil
}

// Call calls a method with in, and reads what it answers into out, which may be
// nil. What the method returned as an *rpc.Error comes back as one.
func (c *Client) Call(ctx context.Context, method string, in, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return fmt.Errorf("control: %w", err)
	}
	u := url.URL{Scheme: "http", Host: "node", Path: "/" + method}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, u.String(), bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("control: %w", err)
	}
	r.Header.Set("Authorization", "Bearer "+c.door.Token)
	resp, err := c.http.Do(r)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		return fmt.Errorf("control: the running node (process %d) does not answer: %w", c.Process, err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		return fmt.Errorf("control: the running node (process %d) stopped: %w", c.Process, err)
	}
	if resp.StatusCode != http.StatusOK {
		var f failure
		if err := json.Unmarshal(data, &f); err != nil {
			return fmt.Errorf("control: the running node answers %s", resp.Status)
		}
		if f.Code == rpc.Unknown {
			return errors.New(f.Text)
		}
		return &rpc.Error{Code: f.Code, Text: f.Text}
	}
	if out == nil {
		return nil
	}
	if err := json.Unmarshal(data, out); err != nil {
		return fmt.Errorf("control: read the answer of the running node: %w", err)
	}
	return nil
}

// Close ends the client's connections.
func (c *Client) Close() error {
	c.http.CloseIdleConnections()
	return nil
}
