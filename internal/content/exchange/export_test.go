package exchange

import "github.com/avalnetwork/aval/internal/content"

// OpenFrame is the first frame of a stream.
func OpenFrame(root content.Root) []byte {
	data, err := marshalOpen(wanted{root: root}, nil)
	if err != nil {
		panic(err)
	}
	return appendFrame(nil, frameOpen, data)
}
