// Package content names models and data sets by what is in them, so that they can
// be fetched from anybody and checked byte by byte.
//
// [Split] cuts a file into chunks where its own bytes say so, so that files
// which share stretches share chunks. [NewTree] puts the hashes of a file's
// chunks into a tree with one root, and [Assembler] takes such a tree from
// somebody who is not trusted, node by node. A [Manifest] names files with
// their roots and says where they come from; [Manifest.Sign] signs it and
// [ParseManifest] checks it. The [Root] of a content is the hash of its signed
// manifest: who knows the root can tell whether what a stranger sends belongs
// to it.
//
// Everything here is a function of its input. Files are indexed and kept by
// content/library and moved by content/exchange. spec/wire.md, part 6, has the
// bytes.
package content

import (
	"errors"
	"fmt"

	"github.com/avalnetwork/aval/internal/canon"
)

// Limits of content. What exceeds one is refused.
const (
	MinCut   = 16 << 10  // bytes of a chunk, but for the last of a file
	MinChunk = 64 << 10  // bytes before the content may say where a chunk ends
	Average  = 256 << 10 // bytes of a chunk, about
	MaxChunk = 1 << 20   // bytes of a chunk

	Fanout    = 1024                  // children of a node
	MaxNode   = 3 + Fanout*childBytes // bytes of a node
	MaxLevels = 4                     // of nodes

	MaxFileChunks = 1 << 22 // of one file: one TiB or so
	MaxFileSize   = MaxFileChunks * MaxChunk
	MaxChunks     = 1 << 23 // of all files of a manifest together

	MaxManifest = 4 << 20 // bytes
	MaxFiles    = 10_000
	MaxPath     = 512 // bytes
	MaxDepth    = 32  // parts of a path
	MaxName     = 128 // bytes
	MaxText     = 4 << 10
	MaxParents  = 64
)

// ReservedPrefix begins names that no manifest may have: of files that are not
// whole yet.
const ReservedPrefix = ".aval-"

// Hash is a SHA-256 hash: of a chunk, or of a node.
type Hash = canon.Hash

// Root names content: the hash of a signed manifest.
type Root = canon.Hash

// ErrContent marks bytes that are not what they should be.
var ErrContent = errors.New("bad content")

func errorf(format string, args ...any) error {
	return fmt.Errorf("content: %w: %w", ErrContent, fmt.Errorf(format, args...))
}

// ParseRoot reads a root: 64 hexadecimal digits.
func ParseRoot(s string) (Root, error) {
	var r Root
	if err := r.UnmarshalText([]byte(s)); err != nil {
		return Root{}, errorf("%.80q is not a root: %w", s, err)
	}
	return r, nil
}

// ChunkHash is the hash of a chunk: SHA-256(0x00, data).
func ChunkHash(data []byte) Hash { return canon.Leaf(data) }

// Chunk is one piece of a file.
type Chunk struct {
	Hash Hash
	Size uint32 // bytes, 1 to MaxChunk
}
