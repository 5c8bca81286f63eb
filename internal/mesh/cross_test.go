package mesh_test

import (
	"sync"
	"testing"

	"github.com/avalnetwork/aval/internal/mesh"
	"github.com/avalnetwork/aval/internal/mesh/doctor"
)

// TestBothDial holds that two nodes that dial one another at the same moment get
// connected: TCP may then make one connection of the two, at which both ends
// believe to have begun.
func TestBothDial(t *testing.T) {
	for range 40 { // of which it happens to about five
		a := start(t, 1, mesh.Config{Mode: doctor.LAN, Listen: []string{tcp}})
		b := start(t, 2, mesh.Config{Mode: doctor.LAN, Listen: []string{tcp}})
		var errs [2]error
		var wg sync.WaitGroup
		wg.Go(func() { _, errs[0] = a.Connect(t.Context(), b.Addresses()...) })
		wg.Go(func() { _, errs[1] = b.Connect(t.Context(), a.Addresses()...) })
		wg.Wait()
		for _, err := range errs {
			if err != nil {
				t.Error(err)
			}
		}
		a.Close()
		b.Close()
	}
}
