package wire

import "google.golang.org/protobuf/proto"

// Message is any message of this package.
type Message = proto.Message

// Marshal writes a message, for those who carry it in an envelope of their own.
func Marshal(m Message) ([]byte, error) { return proto.Marshal(m) }

// Unmarshal reads one. The bytes may come from anybody; their number is the
// caller's to bound.
func Unmarshal(data []byte, m Message) error { return proto.Unmarshal(data, m) }
