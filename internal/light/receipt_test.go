package light_test

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/avalnetwork/aval/internal/canon"
	"github.com/avalnetwork/aval/internal/ledger/tree"
	"github.com/avalnetwork/aval/internal/light"
	"github.com/avalnetwork/aval/internal/receiptlog"
)

// logged is all that somebody is given who wants to know that a receipt is in the
// log whose root a node put on the ledger.
type logged struct {
	block, proof []byte // a header with its votes; an entry under its root
	key, value   []byte // of the entry: a log's size and root
	index        uint64 // of the receipt in the log
	receipt      canon.Hash
	inclusion    []canon.Hash
}

var now = time.Unix(1_795_000_000, 0)

func hashOf(i int) canon.Hash { return sha256.Sum256(binary.BigEndian.AppendUint64(nil, uint64(i))) }

func keyOf(i int) ed25519.PrivateKey {
	h := hashOf(i)
	return ed25519.NewKeyFromSeed(h[:])
}

// newLogged makes a ledger with entries, a log with receipts, and a header that
// validators signed; and what is trusted.
func newLogged(t testing.TB, validators, entries, receipts int) (*light.Trust, *logged) {
	t.Helper()
	log, err := receiptlog.NewTree(0, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := range receipts {
		log.Append(receiptlog.Leaf(hashOf(i)))
	}
	l := &logged{key: []byte("batch"), index: uint64(receipts / 3), receipt: hashOf(receipts / 3)}
	root := log.Root()
	l.value = append(binary.BigEndian.AppendUint64(nil, uint64(receipts)), root[:]...)
	if l.inclusion, err = receiptlog.Inclusion(log, uint64(receipts), l.index); err != nil {
		t.Fatal(err)
	}
	var state tree.Tree
	for i := range entries {
		k := hashOf(i)
		state.Set(k[:], []byte{1})
	}
	state.Set(l.key, l.value)
	if l.proof, err = state.Prove(l.key).Encode(); err != nil {
		t.Fatal(err)
	}
	var vals []light.Validator
	secret := map[canon.Hash]ed25519.PrivateKey{}
	for i := range validators {
		k := keyOf(i)
		id := canon.Hash(k.Public().(ed25519.PublicKey))
		vals, secret[id] = append(vals, light.Validator{Key: id, Power: 10}), k
	}
	trust := light.Genesis("test", vals, now)
	vals = trust.Validators
	b := &light.Block{
		Header: light.Header{
			Protocol: 11, Application: 1, Chain: "test", Height: 70, Time: light.Time{Seconds: now.Unix() - 1},
			Validators: light.SetHash(vals), NextValidators: light.SetHash(vals), Root: state.Root(),
		},
		Parts: light.Parts{Total: 1, Hash: hashOf(1)}, Validators: vals,
	}
	for i := range vals {
		v := light.Vote{Time: light.Time{Seconds: now.Unix(), Nanos: int32(i)}}
		v.Signature = ed25519.Sign(secret[vals[i].Key], b.SignBytes(&v))
		b.Votes = append(b.Votes, v)
	}
	if l.block, err = b.Encode(); err != nil {
		t.Fatal(err)
	}
	return trust, l
}

var errNotLogged = errors.New("the receipt is not shown to be in the log")

// check is all that a page does to know that a receipt is in a log on the ledger.
func (l *logged) check(trust *light.Trust) error {
	b, err := light.Decode(l.block)
	if err != nil {
		return err
	}
	if trust, err = trust.Verify(b, now, 0); err != nil {
		return err
	}
	p, err := tree.DecodeProof(l.proof)
	if err != nil {
		return err
	}
	value, there, err := trust.Entry(l.key, p)
	if err != nil {
		return err
	}
	if !there || value != sha256.Sum256(l.value) || len(l.value) != 8+canon.Size {
		return errNotLogged
	}
	return receiptlog.VerifyInclusion(canon.Hash(l.value[8:]), binary.BigEndian.Uint64(l.value), l.index, receiptlog.Leaf(l.receipt), l.inclusion)
}

// TestReceipt: a receipt is shown to be on the ledger, and with anything else in
// the place of what shows it, it is not. It runs in WebAssembly, too.
func TestReceipt(t *testing.T) {
	trust, l := newLogged(t, 4, 100, 1000)
	if err := l.check(trust); err != nil {
		t.Fatal(err)
	}
	for name, alter := range map[string]func(l *logged){
		"receipt":   func(l *logged) { l.receipt[0] ^= 1 },
		"index":     func(l *logged) { l.index++ },
		"inclusion": func(l *logged) { l.inclusion = append([]canon.Hash{{1}}, l.inclusion[1:]...) },
		"value":     func(l *logged) { l.value = append([]byte{1}, l.value[1:]...) },
		"key":       func(l *logged) { l.key = []byte("other") },
	} {
		c := *l
		alter(&c)
		if c.check(trust) == nil {
			t.Errorf("it stands with another %s", name)
		}
	}
	for at := range l.proof {
		c := *l
		c.proof = append([]byte{}, l.proof...)
		c.proof[at] ^= 1
		if c.check(trust) == nil {
			t.Errorf("it stands with byte %d of the proof changed", at)
		}
	}
	b, err := light.Decode(l.block)
	if err != nil {
		t.Fatal(err)
	}
	header, err := canon.Marshal(b.Header)
	if err != nil {
		t.Fatal(err)
	}
	for at := range header { // behind it are votes, of which not all are needed
		c := *l
		c.block = append([]byte{}, l.block...)
		c.block[1+at] ^= 1
		if c.check(trust) == nil {
			t.Errorf("it stands with byte %d of the header changed", at)
		}
	}
	b.Votes[0].Signature, b.Votes[1].Signature = nil, nil
	c := *l
	if c.block, err = b.Encode(); err != nil {
		t.Fatal(err)
	}
	if err := c.check(trust); !errors.Is(err, light.ErrInvalid) {
		t.Errorf("half of the validators signed: %v", err)
	}
}

func TestAgain(t *testing.T) {
	trust, _ := newLogged(t, 1, 1, 1)
	later, err := trust.Again(now.Add(light.Period), 0)
	if err != nil || later.Checked != now.Add(light.Period).Unix() || trust.Checked != now.Unix() {
		t.Errorf("%+v, %v", later, err)
	}
	if _, err := trust.Again(now.Add(light.Period+time.Second), 0); !errors.Is(err, light.ErrExpired) {
		t.Errorf("too late: %v", err)
	}
}

// BenchmarkReceipt is the time to know that a receipt is on the ledger. In
// WebAssembly:
//
//	GOOS=js GOARCH=wasm go test -exec "$(go env GOROOT)/lib/wasm/go_js_wasm_exec" -run '^$' -bench Receipt ./internal/light
func BenchmarkReceipt(b *testing.B) {
	for _, validators := range []int{1, 4, 100} {
		b.Run(fmt.Sprint("validators=", validators), func(b *testing.B) {
			trust, l := newLogged(b, validators, 20_000, 100_000)
			for b.Loop() {
				if err := l.check(trust); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
