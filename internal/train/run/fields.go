package run

import (
	"errors"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// maxConfig bounds a configuration file, in bytes.
const maxConfig = 1 << 20

// Field is one field of a [Config].
type Field struct {
	Key  string // in a configuration file
	Help string // for people; "-" if it is no flag
	// Value points to the field.
	Value any
}

// Fields lists the fields that a kind of runs has, in the order of Config.
func (c *Config) Fields(k Kind) []Field {
	var out []Field
	for _, f := range fields(c) {
		if f.belongs(k) && f.key != "kind" {
			out = append(out, Field{Key: f.key, Help: f.help, Value: f.value.Addr().Interface()})
		}
	}
	return out
}

// field is a field with what its tags say.
type field struct {
	key, help, kinds string
	value            reflect.Value
}

func (f *field) belongs(k Kind) bool {
	return f.kinds == "" || slices.Contains(strings.Fields(f.kinds), string(k))
}

func fields(c *Config) []field {
	v := reflect.ValueOf(c).Elem()
	var out []field
	for i := range v.NumField() {
		tag := v.Type().Field(i).Tag
		key, _, _ := strings.Cut(tag.Get("yaml"), ",")
		out = append(out, field{key: key, help: tag.Get("help"), kinds: tag.Get("kinds"), value: v.Field(i)})
	}
	return out
}

// ReadFile reads a configuration file over c: what the file does not say stays.
// Keys that are not known are errors that list the known ones.
func (c *Config) ReadFile(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if info.Size() > maxConfig {
		return fmt.Errorf("%w: %s has more than %d bytes", ErrConfig, path, maxConfig)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if err := c.Parse(data); err != nil {
		return fmt.Errorf("%w: %s: %w", ErrConfig, path, err)
	}
	return nil
}

// Parse is ReadFile of bytes.
func (c *Config) Parse(data []byte) error {
	if len(data) > maxConfig {
		return fmt.Errorf("more than %d bytes", maxConfig)
	}
	var doc yaml.Node
	if err := yaml.Unmarshal(data, &doc); err != nil {
		return err
	}
	if len(doc.Content) == 0 {
		return errors.New("the file is empty")
	}
	top := doc.Content[0]
	if top.Kind != yaml.MappingNode {
		return errors.New("want lines of the form key: value")
	}
	kind := c.Kind
	known := map[string]field{}
	var names []string
	for _, f := range fields(c) {
		known[f.key] = f
		if f.belongs(kind) {
			names = append(names, f.key)
		}
	}
	for i := 0; i+1 < len(top.Content); i += 2 {
		if got := top.Content[i+1].Value; top.Content[i].Value == "kind" && got != string(kind) {
			return fmt.Errorf("kind is %q, want %q", got, kind)
		}
	}
	seen := map[string]bool{}
	for i := 0; i+1 < len(top.Content); i += 2 {
		key, value := top.Content[i], top.Content[i+1]
		f, ok := known[key.Value]
		switch {
		case !ok:
			return fmt.Errorf("line %d: there is no key %q; known are %s", key.Line, key.Value, strings.Join(names, ", "))
		case !f.belongs(kind):
			return fmt.Errorf("line %d: %s does not belong to a run of kind %s; known are %s", key.Line, key.Value, kind, strings.Join(names, ", "))
		case seen[key.Value]:
			return fmt.Errorf("line %d: %s stands there twice", key.Line, key.Value)
		}
		seen[key.Value] = true
		into := reflect.New(f.value.Type())
		if err := value.Decode(into.Interface()); err != nil {
			return fmt.Errorf("line %d: %s: %w", key.Line, key.Value, err)
		}
		f.value.Set(into.Elem())
	}
	if c.Kind != kind { // by an alias, whose text is not its value
		return fmt.Errorf("kind is %q, want %q", c.Kind, kind)
	}
	return nil
}

// Marshal writes the configuration as a file: the fields that its kind has, but
// for those that are zero and are so by default.
func (c *Config) Marshal() ([]byte, error) {
	usual := Defaults(c.Kind)
	plain := fields(&usual)
	doc := &yaml.Node{Kind: yaml.MappingNode}
	for i, f := range fields(c) {
		if !f.belongs(c.Kind) || empty(f.value) && (empty(plain[i].value) || f.key == "epochs") {
			continue
		}
		key, value := &yaml.Node{}, &yaml.Node{}
		key.SetString(f.key)
		if err := value.Encode(f.value.Interface()); err != nil {
			return nil, err
		}
		if value.Kind == yaml.SequenceNode {
			value.Style = yaml.FlowStyle
		}
		doc.Content = append(doc.Content, key, value)
	}
	return yaml.Marshal(doc)
}

// empty also takes a list without elements for zero.
func empty(v reflect.Value) bool {
	return v.IsZero() || v.Kind() == reflect.Slice && v.Len() == 0
}
