package grammar_test

import (
	"fmt"

	"github.com/avalnetwork/aval/internal/grammar"
)

func Example() {
	pieces := [][]byte{[]byte(`{"`), []byte("ok"), []byte(`":`), []byte(" "), []byte("true"), []byte("false"), []byte("maybe"), []byte("}"), nil}
	const end = 8
	v, err := grammar.NewVocabulary(pieces, []int32{end})
	if err != nil {
		panic(err)
	}
	g, err := grammar.FromJSONSchema([]byte(`{"properties": {"ok": {"type": "boolean"}}, "required": ["ok"]}`))
	if err != nil {
		panic(err)
	}
	s := grammar.NewMatcher(g, v).NewState()
	for _, token := range []int32{0, 1, 2, 5, 7, end} {
		mask, err := s.Mask()
		if err != nil {
			panic(err)
		}
		var may []string
		for id := range int32(v.Size()) {
			if mask.Has(id) {
				may = append(may, string(pieces[id]))
			}
		}
		fmt.Printf("%q\n", may)
		if err := s.Accept(token); err != nil {
			panic(err)
		}
	}
	fmt.Println(s.Done())
	// Output:
	// ["{\""]
	// ["ok"]
	// ["\":"]
	// [" " "true" "false"]
	// [" " "}"]
	// [""]
	// true
}
