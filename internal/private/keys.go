package private

import (
	"crypto/ed25519"
	"crypto/hpke"
	"sync"
	"time"

	"github.com/avalnetwork/aval/internal/rpc"
)

// How long a key is given out, and how long it opens what is sealed to it.
const (
	keyGiven = 12 * time.Hour
	keyOpens = 24 * time.Hour
)

// maxSeen bounds the requests that one key opens: each is remembered, so that it
// is answered once. A key that has opened so many is replaced early.
const maxSeen = 1 << 16

// keyring makes the keys of a provider, and remembers what they opened. At most
// two open at a time.
type keyring struct {
	sign ed25519.PrivateKey
	now  func() time.Time

	mu   sync.Mutex
	keys []*ringKey // the newest last
}

type ringKey struct {
	id        byte
	private   hpke.PrivateKey
	config    []byte
	made, end time.Time
	signature []byte
	seen      map[[32]byte]bool
}

// current gives the key to give out.
func (r *keyring) current() (*ringKey, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.now()
	if n := len(r.keys); n > 0 {
		if k := r.keys[n-1]; now.Before(k.made.Add(keyGiven)) && len(k.seen) < maxSeen/2 {
			return k, nil
		}
	}
	kem, err := hpke.NewKEM(kemXWing)
	if err != nil {
		return nil, err
	}
	private, err := kem.GenerateKey()
	if err != nil {
		return nil, err
	}
	k := &ringKey{private: private, made: now, end: now.Add(keyOpens).Truncate(time.Second), seen: map[[32]byte]bool{}}
	if n := len(r.keys); n > 0 {
		k.id = r.keys[n-1].id + 1
		r.keys = r.keys[n-1:]
	}
	k.config = encodeConfig(k.id, private.PublicKey())
	k.signature = ed25519.Sign(r.sign, keySum(k.config, k.end))
	r.keys = append(r.keys, k)
	return k, nil
}

// find gives the key that opens what is sealed to its number, nil if there is none.
func (r *keyring) find(id byte) *ringKey {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, k := range r.keys {
		if k.id == id && r.now().Before(k.end) {
			return k
		}
	}
	return nil
}

// first tells whether a request comes for the first time, and remembers it.
func (r *keyring) first(k *ringKey, enc [32]byte) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case k.seen[enc]:
		return rpc.Errorf(rpc.AlreadyExists, "this request was answered before")
	case len(k.seen) >= maxSeen:
		return rpc.Errorf(rpc.FailedPrecondition, "the key is used up: ask for the key again")
	}
	k.seen[enc] = true
	return nil
}
