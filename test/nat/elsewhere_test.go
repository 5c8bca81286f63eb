//go:build !linux

package nat_test

import "testing"

// TestNAT needs Linux's network namespaces.
func TestNAT(t *testing.T) {
	t.Skip("the NAT tests need Linux: network namespaces and nftables")
}
