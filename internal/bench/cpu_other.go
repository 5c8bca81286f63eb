//go:build !unix

package bench

import "time"

// cpuTime is not known here; shares are then of the time on the wall.
func cpuTime() time.Duration { return 0 }
