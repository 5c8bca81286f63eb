package grammar

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

type kind uint8

const (
	kindNull kind = iota
	kindBool
	kindNumber
	kindString
	kindArray
	kindObject
)

func (k kind) String() string {
	return [...]string{"null", "boolean", "number", "string", "array", "object"}[k]
}

// value is a JSON value that keeps the order of its properties and the digits
// of its numbers.
type value struct {
	kind kind
	bool bool
	text string   // of a string; the digits of a number
	keys []string // of an object, beside vals
	vals []*value // of an object or array
}

// get returns a property, nil if v is no object or has it not.
func (v *value) get(key string) *value {
	for i, k := range v.keys {
		if k == key {
			return v.vals[i]
		}
	}
	return nil
}

// parseValue reads one JSON value.
func parseValue(text []byte) (*value, error) {
	if len(text) > maxSource {
		return nil, fmt.Errorf("%d bytes, at most %d are allowed", len(text), maxSource)
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	v, err := readValue(d, 0)
	if err != nil {
		return nil, err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("more text after the value")
	}
	return v, nil
}

func readValue(d *json.Decoder, depth int) (*value, error) {
	if depth > maxNesting {
		return nil, fmt.Errorf("nested more than %d deep", maxNesting)
	}
	t, err := d.Token()
	if err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return nil, err
	}
	switch t := t.(type) {
	case nil:
		return &value{kind: kindNull}, nil
	case bool:
		return &value{kind: kindBool, bool: t}, nil
	case json.Number:
		return &value{kind: kindNumber, text: t.String()}, nil
	case string:
		return &value{kind: kindString, text: t}, nil
	case json.Delim:
		if t == '[' {
			return readArray(d, depth)
		}
		return readObject(d, depth)
	}
	return nil, fmt.Errorf("unexpected %v", t)
}

func readArray(d *json.Decoder, depth int) (*value, error) {
	v := &value{kind: kindArray}
	for d.More() {
		e, err := readValue(d, depth+1)
		if err != nil {
			return nil, err
		}
		v.vals = append(v.vals, e)
	}
	_, err := d.Token()
	return v, err
}

func readObject(d *json.Decoder, depth int) (*value, error) {
	v := &value{kind: kindObject}
	seen := map[string]bool{}
	for d.More() {
		t, err := d.Token()
		if err != nil {
			return nil, err
		}
		key, ok := t.(string)
		if !ok {
			return nil, fmt.Errorf("property name %v is not a string", t)
		}
		if seen[key] {
			return nil, fmt.Errorf("property %q appears twice", key)
		}
		seen[key] = true
		e, err := readValue(d, depth+1)
		if err != nil {
			return nil, err
		}
		v.keys, v.vals = append(v.keys, key), append(v.vals, e)
	}
	_, err := d.Token()
	return v, err
}
