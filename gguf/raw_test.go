package gguf_test

import (
	"encoding/binary"

	"github.com/avalnetwork/aval/gguf"
)

// raw builds a file byte by byte, independently of the Writer and free to be
// wrong.
type raw []byte

func (r raw) u8(x uint8) raw   { return append(r, x) }
func (r raw) u32(x uint32) raw { return binary.LittleEndian.AppendUint32(r, x) }
func (r raw) u64(x uint64) raw { return binary.LittleEndian.AppendUint64(r, x) }
func (r raw) str(s string) raw { return append(r.u64(uint64(len(s))), s...) }

// key appends a key and the kind of its value.
func (r raw) key(name string, k gguf.Kind) raw { return r.str(name).u32(uint32(k)) }

// array appends an array's element kind and count.
func (r raw) array(k gguf.Kind, n uint64) raw { return r.u32(uint32(k)).u64(n) }

// tensor appends a tensor's description.
func (r raw) tensor(name string, t gguf.Type, offset uint64, shape ...uint64) raw {
	r = r.str(name).u32(uint32(len(shape)))
	for _, d := range shape {
		r = r.u64(d)
	}
	return r.u32(uint32(t)).u64(offset)
}

// data appends padding and n bytes, which count up.
func (r raw) data(n int) raw {
	for len(r)%32 != 0 {
		r = append(r, 0)
	}
	for i := range n {
		r = append(r, byte(i))
	}
	return r
}

// begin is magic, version and the two counts.
func begin(version uint32, tensors, keys uint64) raw {
	return raw("GGUF").u32(version).u64(tensors).u64(keys)
}

// smallFile is a valid file with a value of every kind that needs a length,
// and two tensors.
func smallFile(version uint32) raw {
	return begin(version, 2, 5).
		key("general.architecture", gguf.KindString).str("llama").
		key("llama.block_count", gguf.KindUint32).u32(2).
		key("tokens", gguf.KindArray).array(gguf.KindString, 2).str("a").str("bc").
		key("nested", gguf.KindArray).array(gguf.KindArray, 2).array(gguf.KindUint8, 2).u8(7).u8(8).array(gguf.KindString, 1).str("x").
		key("flags", gguf.KindArray).array(gguf.KindBool, 2).u8(1).u8(0).
		tensor("one", gguf.F32, 0, 2, 3).
		tensor("two", gguf.Q8_0, 32, 32).
		data(32 + 34)
}
