package consensus

import "fmt"

// Round tells how far consensus is, for tests that fail.
func (n *Node) Round() string {
	rs := n.engine.state.GetRoundState()
	return fmt.Sprintf("%d/%d/%d waits %v peers %d: %v", rs.Height, rs.Round, rs.Step, n.catchingUp(), n.Status().Peers, rs.Votes.StringIndented("  "))
}
