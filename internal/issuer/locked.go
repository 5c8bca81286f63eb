package issuer

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime/debug"
	"strconv"
	"strings"

	"golang.org/x/crypto/argon2"

	"github.com/avalnetwork/aval/receipt"
)

// A locked key is one line of fields with "$" between them, as password hashes
// have it:
//
//	aval-node-locked-1$PASSES$KIB$LANES$SALT$BOX
//
// Argon2id (RFC 9106) makes a key of 32 bytes from the passphrase and SALT (16
// bytes) with so many passes over so many KiB in so many lanes; BOX is AES-256-GCM
// of the unlocked form under that key, with a nonce of zeros, since no salt is
// used twice, and everything before BOX as additional data. SALT and BOX are
// base64 without padding.
const (
	lockedPrefix = "aval-node-locked-1"
	saltSize     = 16
	// What a new lock costs: the second recommendation of RFC 9106 section 4.
	passes, memory, lanes = 3, 64 << 10, 4
	// What a file may ask for: it would otherwise decide how long this takes.
	maxPasses, maxMemory, maxLanes = 16, 1 << 20, 16 // memory in KiB: 1 GiB
	// MaxPassphrase is the length of the longest passphrase, in bytes.
	MaxPassphrase = 1024
)

// Errors of locked keys. They say nothing of the key or the passphrase.
var (
	ErrLocked     = errors.New("the key of this node has a passphrase")
	ErrPassphrase = errors.New("this is not the passphrase of the key, or its file was changed")
)

// Unlock gives the passphrase of the key in a file. It is asked once, and only
// if the key has one.
type Unlock func(path string) (string, error)

// LoadKeyWith is LoadKey for keys that may have a passphrase. A nil unlock means
// that nobody can be asked: such keys give ErrLocked.
func LoadKeyWith(path string, unlock Unlock) (ed25519.PrivateKey, error) {
	text, err := loadText(path)
	if err != nil {
		return nil, err
	}
	if !isLocked(text) {
		return parseSecret(path, text)
	}
	if unlock == nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrKey, path, ErrLocked)
	}
	passphrase, err := unlock(path)
	if err != nil {
		return nil, err
	}
	return open(path, text, passphrase)
}

// Locked tells whether the key in a file has a passphrase. A file that is not
// there has none.
func Locked(path string) (bool, error) {
	text, err := readText(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return isLocked(text), err
}

// SetPassphrase writes the key's file anew, under another passphrase; an empty
// one leaves the key unlocked. The old file stays until the new one is whole.
func SetPassphrase(path string, key ed25519.PrivateKey, passphrase string) error {
	text := receipt.FormatNodeSecret(key)
	if passphrase != "" {
		if err := validPassphrase(passphrase); err != nil {
			return err
		}
		salt := make([]byte, saltSize)
		if _, err := rand.Read(salt); err != nil {
			return fmt.Errorf("issuer: %w", err)
		}
		head := lockedHead(salt)
		box, err := seal(passphrase, salt, passes, memory, lanes)
		if err != nil {
			return err
		}
		text = head + base64.RawStdEncoding.EncodeToString(box.Seal(nil, make([]byte, box.NonceSize()), []byte(text), []byte(head)))
	}
	if err := writePrivate(path, text+"\n", os.Rename); err != nil {
		return fmt.Errorf("issuer: write the key %s: %w", path, err)
	}
	return nil
}

func lockedHead(salt []byte) string {
	return fmt.Sprintf("%s$%d$%d$%d$%s$", lockedPrefix, passes, memory, lanes, base64.RawStdEncoding.EncodeToString(salt))
}

func validPassphrase(s string) error {
	if len(s) > MaxPassphrase || strings.ContainsAny(s, "\r\n\x00") {
		return fmt.Errorf("issuer: a passphrase is one line of at most %d bytes", MaxPassphrase)
	}
	return nil
}

// seal is the cipher of a locked key.
func seal(passphrase string, salt []byte, passes, memory uint32, lanes uint8) (cipher.AEAD, error) {
	key := argon2.IDKey([]byte(passphrase), salt, passes, memory, lanes, 32)
	debug.FreeOSMemory() // a node that idles should not keep what this took
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("issuer: %w", err)
	}
	return cipher.NewGCM(block)
}

func isLocked(text string) bool { return strings.HasPrefix(text, lockedPrefix+"$") }

// open reads a locked key.
func open(path, text, passphrase string) (ed25519.PrivateKey, error) {
	damaged := fmt.Errorf("%w: %s: it is damaged: restore it from a copy", ErrKey, path)
	text = strings.TrimSuffix(text, "\n")
	fields := strings.Split(text, "$")
	if len(fields) != 6 {
		return nil, damaged
	}
	var cost [3]uint64
	for i, most := range []uint64{maxPasses, maxMemory, maxLanes} {
		var err error
		if cost[i], err = strconv.ParseUint(fields[1+i], 10, 32); err != nil || cost[i] < 1 || cost[i] > most {
			return nil, damaged
		}
	}
	salt, err := base64.RawStdEncoding.DecodeString(fields[4])
	if err != nil || len(salt) != saltSize {
		return nil, damaged
	}
	box, err := base64.RawStdEncoding.DecodeString(fields[5])
	if err != nil {
		return nil, damaged
	}
	if err := validPassphrase(passphrase); err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrKey, path, ErrPassphrase)
	}
	aead, err := seal(passphrase, salt, uint32(cost[0]), uint32(cost[1]), uint8(cost[2]))
	if err != nil {
		return nil, err
	}
	head := strings.TrimSuffix(text, fields[5])
	plain, err := aead.Open(nil, make([]byte, aead.NonceSize()), box, []byte(head))
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrKey, path, ErrPassphrase)
	}
	return parseSecret(path, string(plain))
}
