package crdt

import (
	"cmp"
	"encoding/binary"
	"maps"
	"slices"
	"strings"

	"github.com/avalnetwork/aval/internal/canon"
	"github.com/avalnetwork/aval/internal/peer"
)

// Entry is one entry of the state: a register, a counter, one element of a set,
// one record of a log, or a grant. Its canonical CBOR is a leaf of the tree
// whose root is signed.
type Entry struct {
	Key  string `cbor:"1,keyasint"`
	Type Type   `cbor:"2,keyasint"`
	// Value of a register or record, or the element.
	Value []byte `cbor:"3,keyasint"`
	// Stamp of the write that won, of the record, or of the grant; of an
	// element that of its last insertion; none of a counter.
	Stamp Stamp `cbor:"4,keyasint"`
	// Plus and Minus are the sums of a counter, modulo 2^64.
	Plus  uint64 `cbor:"5,keyasint,omitempty"`
	Minus uint64 `cbor:"6,keyasint,omitempty"`
	// Tags are the insertions of an element, the last MaxObserved of them.
	Tags []Stamp `cbor:"7,keyasint,omitempty"`
	// Writer and Types of a grant, whose Key is the prefix.
	Writer peer.ID `cbor:"8,keyasint,omitzero"`
	Types  Type    `cbor:"9,keyasint,omitempty"`

	deleted bool
}

// Sum is the value of a counter.
func (e *Entry) Sum() int64 { return int64(e.Plus - e.Minus) }

// path orders entries and names them: the key, a zero byte (which no key has),
// the type, and what tells entries of one key and type apart.
func (e *Entry) path() string {
	switch e.Type {
	case Elements:
		return entryPath(e.Key, e.Type, string(e.Value))
	case Log, granted:
		return entryPath(e.Key, e.Type, stampKey(e.Stamp))
	}
	return entryPath(e.Key, e.Type, "")
}

func entryPath(key string, t Type, rest string) string {
	return key + "\x00" + string([]byte{byte(t)}) + rest
}

func stampKey(s Stamp) string {
	b := binary.BigEndian.AppendUint64(nil, s.Height)
	return string(append(append(b, s.Author[:]...), s.ID[:]...))
}

func (e *Entry) live() bool {
	switch e.Type {
	case Register:
		return !e.deleted
	case Elements:
		return len(e.Tags) > 0
	}
	return true
}

func parseEntry(data []byte) (*Entry, error) {
	if len(data) > maxEntry {
		return nil, invalidf("an entry of %d bytes", len(data))
	}
	e := &Entry{}
	if err := canon.UnmarshalMax(data, e, 8*MaxObserved+64); err != nil {
		return nil, invalidf("%w", err)
	}
	_, known := typeNames[e.Type]
	if !known || e.Value == nil || len(e.Value) > MaxValue || len(e.Key) > MaxKey || !clean(e.Key) || len(e.Tags) > MaxObserved || !e.live() {
		return nil, invalidf("an entry of type %d", e.Type)
	}
	return e, nil
}

// state is the data of a namespace. Entries are never changed, but replaced, so
// that a copy of the map is a copy of the state.
type state struct {
	entries map[string]*Entry
	removed map[ID]bool // insertions into sets that removals name
}

func newState() *state { return &state{map[string]*Entry{}, map[ID]bool{}} }

func (s *state) clone() *state { return &state{maps.Clone(s.entries), maps.Clone(s.removed)} }

// apply does what an operation says. Operations may come in any order.
func (s *state) apply(o *Op) {
	c := &o.Change
	e := Entry{Key: c.Key, Type: c.Action.typeOf(), Value: c.Value, Stamp: o.stamp()}
	if e.Value == nil {
		e.Value = []byte{}
	}
	switch c.Action {
	case Set, Delete:
		e.deleted = c.Action == Delete
		if old := s.entries[e.path()]; old != nil && old.Stamp.Compare(e.Stamp) >= 0 {
			return
		}
	case Count:
		e.Stamp = Stamp{}
		if old := s.entries[e.path()]; old != nil {
			e = *old
		}
		if c.Delta > 0 {
			e.Plus += uint64(c.Delta)
		} else {
			e.Minus += uint64(-c.Delta)
		}
	case Insert, Remove:
		var tags []Stamp
		if old := s.entries[e.path()]; old != nil {
			tags = slices.Clone(old.Tags)
		}
		// A removal counts for insertions of its own key and element alone: else
		// a writer could end those that it may not touch.
		for _, id := range c.Observed {
			s.removed[canon.Sum("aval removed/1", id[:], []byte(e.path()))] = true
		}
		if c.Action == Insert {
			tags = append(tags, e.Stamp)
		}
		tags = slices.DeleteFunc(tags, func(t Stamp) bool {
			return s.removed[canon.Sum("aval removed/1", t.ID[:], []byte(e.path()))]
		})
		slices.SortFunc(tags, Stamp.Compare)
		e.Tags, e.Stamp = tags, Stamp{}
		if len(tags) > 0 {
			e.Stamp = tags[len(tags)-1]
		}
	}
	s.entries[e.path()] = &e
}

// sorted gives the entries that there are, by path.
func (s *state) sorted() []*Entry {
	type item struct {
		path string
		e    *Entry
	}
	list := make([]item, 0, len(s.entries))
	for p, e := range s.entries {
		if e.live() {
			list = append(list, item{p, e})
		}
	}
	slices.SortFunc(list, func(a, b item) int { return cmp.Compare(a.path, b.path) })
	out := make([]*Entry, len(list))
	for i, it := range list {
		out[i] = it.e
		if len(it.e.Tags) > MaxObserved {
			cut := *it.e
			cut.Tags = cut.Tags[len(cut.Tags)-MaxObserved:]
			out[i] = &cut
		}
	}
	return out
}

// Entries lists the entries whose key begins with a prefix, by key and type;
// grants are not among them.
func (s *Space) Entries(prefix string) []*Entry {
	var out []*Entry
	all := s.view().entries
	from, _ := slices.BinarySearchFunc(all, prefix, func(e *Entry, p string) int { return cmp.Compare(e.path(), p) })
	for _, e := range all[from:] {
		if !strings.HasPrefix(e.Key, prefix) {
			break
		}
		if e.Type != granted {
			out = append(out, e)
		}
	}
	return out
}

// Get gives a register or counter.
func (s *Space) Get(key string, t Type) (*Entry, bool) {
	e := s.state.entries[entryPath(key, t, "")]
	return e, e != nil && e.live()
}

// Elements lists the elements of a set, Log the records of a log in order.
func (s *Space) Elements(key string) []*Entry { return s.of(key, Elements) }

// Log lists the records of a log, in the order of their stamps.
func (s *Space) Log(key string) []*Entry { return s.of(key, Log) }

func (s *Space) of(key string, t Type) []*Entry {
	var out []*Entry
	for _, e := range s.Entries(key) {
		if e.Key == key && e.Type == t {
			out = append(out, e)
		}
	}
	return out
}

// Grants lists the grants that are in force, by prefix.
func (s *Space) Grants() []*Entry {
	var out []*Entry
	for _, e := range s.view().entries {
		if e.Type == granted {
			out = append(out, e)
		}
	}
	return out
}
