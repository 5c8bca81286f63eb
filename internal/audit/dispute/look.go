package dispute

import (
	"fmt"

	"github.com/avalnetwork/aval/internal/canon"
)

// Said is what a message of a game says, for those who look on.
type Said struct {
	Party Party  // whose move it is
	Round int    // 0, 1, 2 ...
	What  string // such as "shows the trace"
	Part  int    // of a child: which part of the last answer; otherwise -1
	Cell  *Cell  // of a question about a cell
	Nodes int    // hashes that an answer shows
	Proof []byte // of an accusation
}

// Look reads a message of a game. It checks no signature: what is in the ledger
// was checked by its referee.
func Look(data []byte) (Said, error) {
	m, err := open(data)
	if err != nil {
		return Said{}, err
	}
	s := Said{Party: ChallengerParty, Round: m.Round, Part: -1}
	if m.Round%2 == 1 {
		s.Party = ProverParty
	}
	switch m.Kind {
	case kindOpen:
		s.What = "asks for the trace"
	case kindChild:
		var b bodyChild
		err = canon.Unmarshal(m.Body, &b)
		s.What, s.Part = "points at a part", b.Part
	case kindCell:
		var b bodyCell
		err = canon.Unmarshal(m.Body, &b)
		s.What, s.Cell = "asks for a cell", &Cell{b.Output, b.Layer, b.Position}
	case kindFraud:
		s.What, s.Proof = "proves fraud", m.Body
	case kindTrace:
		var b bodyTrace
		err = canon.Unmarshal(m.Body, &b)
		s.What, s.Nodes = "shows the trace", len(b.Nodes.List())
	case kindNodes:
		var b bodyNodes
		err = canon.Unmarshal(m.Body, &b)
		s.What, s.Nodes = "shows what is below", len(b.Nodes.List())
	case kindStatement:
		var b bodyStatement
		err = canon.Unmarshal(m.Body, &b)
		s.What, s.Nodes = "stands by the cell", len(b.Nodes.List())
	default:
		err = fmt.Errorf("dispute: there is no message of kind %d", m.Kind)
	}
	return s, err
}
