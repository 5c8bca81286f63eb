// Package content names data by what it is: files are cut where their bytes say
// so, the pieces are hashed, and one root binds all files of a model, a data set
// or a folder together with where they come from. Call [Split] to cut a file,
// [File.Node] and [File.Lists] for the objects that let a receiver check every
// piece as it arrives, and [Sign] and [ParseManifest] for the statement on top.
// It reads no disk and no network.
//
// The objects, each named by the hash of its bytes for its purpose (spec/wire.md,
// part 6):
//
//	manifest   what it is, whose, and the files: path, size, hash of the node
//	node       of one file: its size and the hashes of its lists
//	list       up to 1,024 chunks of a file: hash and size of each
//	chunk      bytes
package content

import (
	"errors"

	"github.com/avalnetwork/aval/internal/canon"
)

// Hash names an object.
type Hash = canon.Hash

// Root names a manifest, and with it everything below.
type Root = canon.Hash

// Limits. Average sizes are goals of the cutting, not bounds.
const (
	MinChunk    = 64 << 10 // bytes; the last chunk of a file or part may have fewer
	AvgChunk    = 256 << 10
	MaxChunk    = 1 << 20
	ListChunks  = 1024            // chunks in a list
	MaxLists    = 4096            // lists of a file
	MaxFileSize = 1 << 40         // bytes of a file
	MaxManifest = 1 << 20         // bytes of a manifest
	MaxFiles    = 4096            // of a manifest
	MaxPath     = 255             // bytes of a path
	MaxText     = 4096            // bytes of each text of a manifest
	MaxParents  = 64              // of a manifest
	MaxObject   = MaxChunk        // bytes of any object
	entryBytes  = len(Hash{}) + 4 // of a chunk in a list
	nodeHead    = 8               // bytes of a node before the hashes
)

// ErrObject says that bytes are not the object that they should be.
var ErrObject = errors.New("not the object that was named")

// Purposes of hashes.
const (
	purposeChunk    = "aval chunk/1"
	purposeList     = "aval chunk list/1"
	purposeNode     = "aval file/1"
	purposeManifest = "aval manifest/1"
)

// ChunkHash names a chunk.
func ChunkHash(data []byte) Hash { return canon.Sum(purposeChunk, data) }
