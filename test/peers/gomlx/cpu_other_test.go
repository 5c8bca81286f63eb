//go:build !unix

package gomlx_test

import (
	"testing"
	"time"
)

var began = time.Now()

// cpu returns the time by the clock on the wall.
func cpu(*testing.B) time.Duration { return time.Since(began) }
