package wallet

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/avalnetwork/aval/internal/canon"
	"github.com/avalnetwork/aval/internal/ledger"
	"github.com/avalnetwork/aval/internal/payment"
	"github.com/avalnetwork/aval/internal/store"
)

// Book keeps where sessions stand, one file for each in a folder: for a node
// what it was promised, for a payer what it signed. It finds the sessions on the
// ledger.
type Book struct {
	folder string
	ledger Ledger
}

// NewBook is the book in a folder, which it makes if it is not there.
func NewBook(folder string, l Ledger) (*Book, error) {
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return nil, fmt.Errorf("wallet: %w", err)
	}
	return &Book{folder, l}, nil
}

const (
	bookSuffix = ".json"
	maxState   = 4 << 10 // bytes of one file
)

func (b *Book) path(id canon.Hash) string {
	return filepath.Join(b.folder, id.String()+bookSuffix)
}

// State is where a session stands, as Keep got it last.
func (b *Book) State(id canon.Hash) (s payment.State, err error) {
	f, err := os.Open(b.path(id))
	if errors.Is(err, fs.ErrNotExist) {
		return s, nil
	}
	if err != nil {
		return s, fmt.Errorf("wallet: %w", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxState))
	if err == nil {
		err = json.Unmarshal(data, &s)
	}
	if err != nil {
		return s, fmt.Errorf("wallet: what was kept of the session %s: %w", id, err)
	}
	return s, nil
}

// Keep keeps where a session stands; it is on the disk when Keep returns.
func (b *Book) Keep(_ context.Context, id canon.Hash, s payment.State) error {
	data, err := json.Marshal(s)
	if err == nil {
		err = store.WriteFile(store.OS{}, b.path(id), 0o600, func(w io.Writer) error {
			_, err := w.Write(data)
			return err
		})
	}
	if err != nil {
		return fmt.Errorf("wallet: the session %s is not kept: %w", id, err)
	}
	return nil
}

// Session finds an open session on the ledger, with what was kept of it.
func (b *Book) Session(ctx context.Context, id canon.Hash) (payment.Terms, payment.State, error) {
	e, err := entry[ledger.Session](ctx, b.ledger, ledger.SessionKey(id))
	if err != nil {
		return payment.Terms{}, payment.State{}, err
	}
	m, err := entry[ledger.Meta](ctx, b.ledger, ledger.MetaKey())
	if err != nil {
		return payment.Terms{}, payment.State{}, err
	}
	if e == nil || m == nil {
		return payment.Terms{}, payment.State{}, errors.New("wallet: it is not open on the ledger")
	}
	s, err := b.State(id)
	return e.Terms(m.Chain, id), s, err
}

// Sessions are those that something was kept of, in the order of their names.
func (b *Book) Sessions() ([]canon.Hash, error) {
	list, err := os.ReadDir(b.folder)
	if err != nil {
		return nil, fmt.Errorf("wallet: %w", err)
	}
	var ids []canon.Hash
	for _, f := range list {
		var id canon.Hash
		if name, ok := strings.CutSuffix(f.Name(), bookSuffix); ok && id.UnmarshalText([]byte(name)) == nil {
			ids = append(ids, id)
		}
	}
	slices.SortFunc(ids, func(a, b canon.Hash) int { return slices.Compare(a[:], b[:]) })
	return ids, nil
}

// Settle settles, for the wallet of who is paid, the sessions that may be settled
// now and at most until a time (both in milliseconds since 1970), if a voucher is
// there, and forgets those that have ended. It goes on after one that fails; the
// errors come together.
func (b *Book) Settle(ctx context.Context, w *Wallet, now, until uint64) (settled []canon.Hash, err error) {
	ids, err := b.Sessions()
	if err != nil {
		return nil, err
	}
	var failed []error
	for _, id := range ids {
		done, err := b.settle(ctx, w, id, now, until)
		if err != nil {
			failed = append(failed, err)
		}
		if done {
			settled = append(settled, id)
		}
	}
	return settled, errors.Join(failed...)
}

func (b *Book) settle(ctx context.Context, w *Wallet, id canon.Hash, now, until uint64) (done bool, err error) {
	e, err := entry[ledger.Session](ctx, b.ledger, ledger.SessionKey(id))
	if err != nil {
		return false, err
	}
	if e != nil && (e.Operator != w.Account() || e.Until > until || e.Until < now) {
		return false, nil
	}
	if e != nil {
		s, err := b.State(id)
		if err != nil {
			return false, err
		}
		if s.Voucher == nil {
			return false, nil // nothing was promised: the ledger ends it, at no cost
		}
		if _, err := w.Settle(ctx, id, s); err != nil {
			return false, fmt.Errorf("wallet: the session %s is not settled: %w", id, err)
		}
	}
	if err := os.Remove(b.path(id)); err != nil {
		return e != nil, fmt.Errorf("wallet: %w", err)
	}
	return e != nil, nil
}
