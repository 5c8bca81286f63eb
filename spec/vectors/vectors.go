// Package vectors holds the test vectors of the formats in spec, good ones and
// bad ones with the name of the check that must refuse them, for programs that
// implement a format. Open a file of [FS], such as "receipt.json"; the text
// beside it in spec says what its fields mean. It has no code.
package vectors

import "embed"

// FS holds one JSON file for each format.
//
//go:embed *.json
var FS embed.FS
