//go:build !linux

package tensor_test

import "time"

var start = time.Now()

func clock() time.Duration { return time.Since(start) }
