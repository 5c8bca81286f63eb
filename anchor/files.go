package anchor

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/ethereum/go-ethereum/crypto"
)

// Limits of what is read.
const (
	maxFile    = 1 << 20 // bytes of a state, a list of attestations or a journal
	maxAttests = 1024    // in a list
	maxWait    = 10 * time.Second
)

// Place is a file, or an http or https URL, with JSON.
type Place string

// Read reads what is there, with bounds on size and time.
func (p Place) Read(ctx context.Context) ([]byte, error) {
	if !strings.Contains(string(p), "://") {
		f, err := os.Open(string(p))
		if err != nil {
			return nil, err
		}
		defer f.Close()
		return readAll(f, string(p))
	}
	ctx, cancel := context.WithTimeout(ctx, maxWait)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, string(p), nil)
	if err != nil {
		return nil, err
	}
	client := http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s answers %s", p, resp.Status)
	}
	return readAll(resp.Body, string(p))
}

func readAll(r io.Reader, name string) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(r, maxFile+1))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if len(data) > maxFile {
		return nil, fmt.Errorf("%s has more than %d bytes", name, maxFile)
	}
	return data, nil
}

// Node is a [Source] that a node writes or serves: the JSON object
// {"chain": ..., "height": ..., "root": ...}.
type Node struct{ Place Place }

// Local refuses a place that somebody on the network could answer for: what is
// read there is believed.
func (n Node) Local() error {
	if !strings.Contains(string(n.Place), "://") {
		return nil
	}
	u, err := url.Parse(string(n.Place))
	if err != nil {
		return fmt.Errorf("anchor: the address of the node: %w", err)
	}
	host := u.Hostname()
	if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return fmt.Errorf("anchor: the state of the ledger comes from %s, which is not this machine; read it from a node here", u.Host)
	}
	return nil
}

// State implements [Source].
func (n Node) State(ctx context.Context) (s State, err error) {
	if err := n.Local(); err != nil {
		return s, err
	}
	data, err := n.Place.Read(ctx)
	if err != nil {
		return s, err
	}
	if err := json.Unmarshal(data, &s); err != nil {
		return s, fmt.Errorf("%s: %w", n.Place, err)
	}
	return s, s.check()
}

// Gathered is a [Witness]: keys that are here, and places where other signers
// put their attestations, one or a list of them each. A place that cannot be
// read counts as empty and is told to Trouble, if that is not nil.
type Gathered struct {
	Keys    []*ecdsa.PrivateKey
	Places  []Place
	Trouble func(Place, error)
}

// Attest implements [Witness].
func (g Gathered) Attest(ctx context.Context, c *Contract, s State) ([]Attestation, error) {
	var list []Attestation
	for _, k := range g.Keys {
		a, err := c.Sign(k, s)
		if err != nil {
			return nil, err
		}
		list = append(list, *a)
	}
	for _, p := range g.Places {
		data, err := p.Read(ctx)
		var some []Attestation
		if err == nil {
			some, err = ParseAttestations(data)
		}
		if err != nil {
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			if g.Trouble != nil {
				g.Trouble(p, err)
			}
			continue
		}
		list = append(list, some...)
	}
	return list, nil
}

// ParseAttestations reads one attestation or a list of them, as JSON.
func ParseAttestations(data []byte) ([]Attestation, error) {
	if len(data) > maxFile {
		return nil, fmt.Errorf("anchor: attestations of %d bytes, want at most %d", len(data), maxFile)
	}
	data = bytes.TrimSpace(data)
	if len(data) > 0 && data[0] == '{' {
		data = append(append([]byte{'['}, data...), ']')
	}
	var list []Attestation
	if err := json.Unmarshal(data, &list); err != nil {
		return nil, fmt.Errorf("anchor: attestations: %w", err)
	}
	if len(list) > maxAttests {
		return nil, fmt.Errorf("anchor: %d attestations, want at most %d", len(list), maxAttests)
	}
	return list, nil
}

// FileJournal is a [Journal] in a file, which is replaced as a whole.
type FileJournal string

// Load implements [Journal].
func (j FileJournal) Load() (*Pending, error) {
	data, err := Place(j).Read(context.Background())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var p *Pending
	if err := json.Unmarshal(data, &p); err != nil {
		return nil, fmt.Errorf("%s: %w; without it a transaction that is under way would be forgotten", j, err)
	}
	return p, nil
}

// Save implements [Journal].
func (j FileJournal) Save(p *Pending) error {
	data, err := json.Marshal(p)
	if err != nil {
		return err
	}
	dir := filepath.Dir(string(j))
	f, err := os.CreateTemp(dir, filepath.Base(string(j))+".*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // of no effect once it is renamed
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(f.Name(), string(j))
	}
	if err != nil {
		return err
	}
	// So that the new name, too, survives a power cut; where folders cannot be
	// synced, as on Windows, that is left to the system.
	if d, err := os.Open(dir); err == nil {
		d.Sync()
		d.Close()
	}
	return nil
}

// ReadKey reads a secp256k1 key of 64 hexadecimal digits from a file that only
// its owner may read.
func ReadKey(path string) (*ecdsa.PrivateKey, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("anchor: the key: %w", err)
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("anchor: the key: %w", err)
	}
	// Windows reports 0666 for every file; who may read it is said elsewhere there.
	if mode := st.Mode().Perm(); mode&0o077 != 0 && os.PathSeparator == '/' {
		return nil, fmt.Errorf("anchor: the key %s may be read by others (mode %04o): chmod 600 %s", path, mode, path)
	}
	data, err := readAll(f, path)
	if err != nil {
		return nil, err
	}
	return ParseKey(string(data))
}

// ParseKey reads a key of 64 hexadecimal digits.
func ParseKey(text string) (*ecdsa.PrivateKey, error) {
	key, err := crypto.HexToECDSA(strings.TrimPrefix(strings.TrimSpace(text), "0x"))
	if err != nil {
		return nil, errors.New("anchor: not a key: want 64 hexadecimal digits") // and not the digits in an error
	}
	return key, nil
}

// NewKey writes a new key to a file that is not there yet.
func NewKey(path string, random io.Reader) (*ecdsa.PrivateKey, error) {
	key, err := ecdsa.GenerateKey(crypto.S256(), random)
	if err != nil {
		return nil, fmt.Errorf("anchor: making a key: %w", err)
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, fmt.Errorf("anchor: the key: %w", err)
	}
	_, err = f.WriteString(hex.EncodeToString(crypto.FromECDSA(key)) + "\n")
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return nil, fmt.Errorf("anchor: the key: %w", err)
	}
	return key, nil
}
