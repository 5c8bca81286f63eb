// Package access decides what peers may do here: which methods they call, which
// models they ask, which content they fetch, which shared data they read and
// write. What the owner granted is in a [Book]; [Guard.Allow] is the one place
// that decides, and refuses what nobody granted. Rights can be handed on by
// tokens ([Issue], [Token.Delegate]), chains of signatures that only ever narrow.
// It does no I/O and opens no connection: package node keeps the book on disk and
// asks the guard about every call.
package access

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Action is what a right is about.
type Action string

// The actions, and what their resources are.
const (
	Call  Action = "call"  // a method, such as /aval.v1.NetService/Receive
	Ask   Action = "ask"   // a model, by the name that it is served under
	Fetch Action = "fetch" // content, by the hexadecimal digits of its root
	Read  Action = "read"  // shared data, by the name of the space
	Write Action = "write" // the same
	Relay Action = "relay" // private requests for the peer whose ID is the resource
	Audit Action = "audit" // what was answered here: Receipts alone, or Openings, which show it
)

// Resources of Audit.
const (
	Receipts = "receipts"
	Openings = "openings"
)

var actions = []Action{Call, Ask, Fetch, Read, Write, Relay, Audit}

// Limits of rights.
const (
	MaxRights   = 32  // of a grant, or a block of a token
	MaxResource = 256 // bytes
)

// ErrRight says that something is no right.
var ErrRight = errors.New("this is no right")

// Right allows one action on the resources that a pattern names: the resource
// itself, or, with a star at its end, all that begin so.
type Right struct {
	Action   Action `json:"action"`
	Resource string `json:"resource"`
}

// Check reports what is wrong with a right.
func (r Right) Check() error {
	switch i := strings.IndexByte(r.Resource, '*'); {
	case !slices.Contains(actions, r.Action):
		return fmt.Errorf("%w: the action %.20q is none of %v", ErrRight, r.Action, actions)
	case r.Resource == "" || len(r.Resource) > MaxResource:
		return fmt.Errorf("%w: the resource has %d bytes, want 1 to %d", ErrRight, len(r.Resource), MaxResource)
	case i >= 0 && i != len(r.Resource)-1:
		return fmt.Errorf("%w: in %.100q the star is not at the end", ErrRight, r.Resource)
	case strings.ContainsFunc(r.Resource, func(c rune) bool { return c <= ' ' || c == 0x7f || c == '\ufffd' }):
		return fmt.Errorf("%w: %.100q has a space, a control character or no UTF-8", ErrRight, r.Resource)
	}
	return nil
}

// Covers tells whether the right allows an action on one resource.
func (r Right) Covers(a Action, resource string) bool {
	if r.Action != a {
		return false
	}
	if prefix, ok := strings.CutSuffix(r.Resource, "*"); ok {
		return strings.HasPrefix(resource, prefix)
	}
	return r.Resource == resource
}

// String is the right as people write it: "ask *".
func (r Right) String() string { return string(r.Action) + " " + r.Resource }

// checkRights checks a list.
func checkRights(list []Right) error {
	if len(list) == 0 || len(list) > MaxRights {
		return fmt.Errorf("%w: %d of them, want 1 to %d", ErrRight, len(list), MaxRights)
	}
	for _, r := range list {
		if err := r.Check(); err != nil {
			return err
		}
	}
	return nil
}

// covered tells whether one of the rights allows an action on a resource.
func covered(list []Right, a Action, resource string) bool {
	return slices.ContainsFunc(list, func(r Right) bool { return r.Covers(a, resource) })
}
