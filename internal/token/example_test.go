package token_test

import (
	"fmt"
	"log"

	"github.com/avalnetwork/aval/internal/token"
)

// The metadata usually is that of a GGUF file, as gguf.Open gives it.
func ExampleNew() {
	tok, err := token.New(bpeMeta([]string{"h i", "Ġ hi"}, entry{"<|im_end|>", control}))
	if err != nil {
		log.Fatal(err)
	}
	ids, err := tok.Encode("hi hi<|im_end|>", token.EncodeOptions{ParseSpecial: true})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(ids, tok.EOG(ids[2]))
	fmt.Println(tok.Decode(ids))
	// Output:
	// [256 257 258] true
	// hi hi
}

// A stream holds a character back until all of its bytes have come.
func ExampleTokenizer_NewStream() {
	tok, err := token.New(bpeMeta(nil))
	if err != nil {
		log.Fatal(err)
	}
	s := tok.NewStream()
	for _, id := range []token.ID{'a', 0xE2, 0x82, 0xAC} {
		fmt.Printf("%q ", s.Add(id))
	}
	fmt.Printf("%q\n", s.Flush())
	// Output: "a" "" "" "€" ""
}
