package dispute

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"slices"

	"github.com/avalnetwork/aval/internal/canon"
	"github.com/avalnetwork/aval/internal/trace"
)

// Referee is the state of one game: whose turn it is, what the prover showed,
// how it ended. It has no model. Each party keeps one too, as its picture of
// the game.
type Referee struct {
	run   Run
	claim Claim
	terms Terms
	id    canon.Hash

	round int        // of the message that is due
	head  canon.Hash // digest of the message before it
	due   kind       // what the prover has to send
	asked []span     // what it has to show parts of
	below canon.Hash // the hash of that, if it is one node

	trace *TraceStatement
	cell  Cell
	plan  Plan // of cell; nil before the challenger named one
	made  *CellStatement
	last  *reveal // the prover's last answer

	move    uint64    // ticks that the mover took for this move so far
	total   [3]uint64 // that each party took
	outcome *Outcome
	work    Work
}

// NewReferee begins a game about the receipt that run is made from. The
// challenger has the first move.
func NewReferee(run Run, terms Terms) (*Referee, error) {
	claim := run.Claim()
	terms = terms.withDefaults()
	if err := terms.validate(claim); err != nil {
		return nil, err
	}
	if claim.Prompt < 1 || claim.Drawn < 1 || claim.Positions() > maxPositions || len(claim.Key) != ed25519.PublicKeySize {
		return nil, fmt.Errorf("dispute: a receipt of %d prompt and %d drawn tokens, signed with a key of %d bytes", claim.Prompt, claim.Drawn, len(claim.Key))
	}
	id := terms.ID(claim)
	return &Referee{run: run, claim: claim, terms: terms, id: id, head: id}, nil
}

// ID is the dispute's identity.
func (r *Referee) ID() canon.Hash { return r.id }

// Turn is the party whose message is due, and the number of that message. After
// the end nobody's is.
func (r *Referee) Turn() (Party, int) {
	switch {
	case r.outcome != nil:
		return 0, r.round
	case r.round%2 == 0:
		return ChallengerParty, r.round
	}
	return ProverParty, r.round
}

// Left is how many ticks the party whose turn it is may still take for its
// message: with one more it loses. After the end it is 0.
func (r *Referee) Left() uint64 {
	mover, _ := r.Turn()
	if mover == 0 {
		return 0
	}
	return min(r.terms.Move-r.move, r.terms.Total-r.total[mover])
}

// Clone is a referee of the same game that goes its own way from here.
func (r *Referee) Clone() *Referee {
	c := *r // what it points to is replaced, never changed
	return &c
}

// Outcome is how the game ended, if it did.
func (r *Referee) Outcome() (Outcome, bool) {
	if r.outcome == nil {
		return Outcome{}, false
	}
	return *r.outcome, true
}

// Work is what the referee did so far.
func (r *Referee) Work() Work { return r.work }

// Tick lets n ticks of time pass. They count against the party whose turn it
// is.
func (r *Referee) Tick(n uint64) {
	mover, _ := r.Turn()
	if mover == 0 {
		return
	}
	n = min(n, 2*maxTicks) // beyond any budget, and the sum does not overflow
	r.move += n
	r.total[mover] += n
	switch {
	case r.move > r.terms.Move:
		r.lose(mover, Silence, fmt.Errorf("the %s took more than %d ticks for message %d", mover, r.terms.Move, r.round))
	case r.total[mover] > r.terms.Total:
		r.lose(mover, Silence, fmt.Errorf("the %s took more than %d ticks in total", mover, r.terms.Total))
	}
}

func (r *Referee) lose(p Party, why Reason, detail error) {
	r.outcome = &Outcome{Winner: p.other(), Reason: why, Detail: detail.Error()}
}

// Step takes a message. [ErrIgnored] says that it was not taken, and changed
// nothing. A message that was taken may end the game: one that its signer
// should not have signed loses.
func (r *Referee) Step(data []byte) error {
	r.work.Bytes += len(data)
	mover, round := r.Turn()
	if mover == 0 {
		return ignored("the game is over")
	}
	m, err := open(data)
	if err != nil {
		return err
	}
	key := r.claim.Key
	if mover == ChallengerParty {
		key = r.terms.Challenger
	}
	digest := m.digest(r.head)
	r.work.Hashes++
	switch {
	case m.Dispute != r.id:
		return ignored("it is of another dispute")
	case m.Round != round:
		return ignored("it is message %d, the %s's message %d is due", m.Round, mover, round)
	case !r.work.verify(key, digest, m.Signature):
		return ignored("it is not signed by the %s for message %d of this game", mover, round)
	}
	// The mover signed this for this place in the game. From here on it answers
	// for it.
	r.round++
	r.head = digest
	r.move = 0
	if mover == ProverParty {
		err = r.answer(m)
	} else {
		err = r.question(m)
	}
	if err != nil && r.outcome == nil {
		r.lose(mover, Malformed, fmt.Errorf("message %d of the %s: %w", round, mover, err))
	}
	return nil
}

// question takes a message of the challenger.
func (r *Referee) question(m *message) error {
	switch {
	case m.Kind == kindFraud:
		return r.fraud(m.Body)
	case m.Kind == kindOpen && r.trace == nil:
		r.due = kindTrace
		return canon.Unmarshal(m.Body, &bodyOpen{})
	case m.Kind == kindChild && r.last != nil:
		var b bodyChild
		if err := canon.Unmarshal(m.Body, &b); err != nil {
			return err
		}
		if b.Part < 0 || b.Part >= len(r.last.parts) {
			return fmt.Errorf("part %d of an answer of %d", b.Part, len(r.last.parts))
		}
		part := r.last.parts[b.Part]
		if part.len() == 1 {
			return fmt.Errorf("there is nothing below part %d: it is a leaf", b.Part)
		}
		r.due, r.asked, r.below = kindNodes, []span{part}, r.last.hashes[b.Part]
		return nil
	case m.Kind == kindCell && r.trace != nil && r.plan == nil:
		return r.name(m.Body)
	}
	return fmt.Errorf("a message of kind %d is not among the challenger's moves here", m.Kind)
}

// name takes the cell that the challenger accuses.
func (r *Referee) name(body []byte) error {
	var b bodyCell
	if err := canon.Unmarshal(body, &b); err != nil {
		return err
	}
	c := Cell{b.Output, b.Layer, b.Position}
	if len(b.Description) > maxDescription {
		return fmt.Errorf("a description of %d bytes, want at most %d", len(b.Description), maxDescription)
	}
	if err := inside(c, r.claim, r.trace.Layers); err != nil {
		return err
	}
	plan, _, err := r.run.Plan(c, b.Description)
	if err != nil {
		return fmt.Errorf("the description: %w", err)
	}
	var sizes []int
	for _, op := range plan.Ops() {
		sizes = append(sizes, op.Leaves)
	}
	r.cell, r.plan, r.due, r.asked = c, plan, kindStatement, forest(sizes...)
	return nil
}

// fraud takes a proof of fraud, which ends the game one way or the other.
func (r *Referee) fraud(proof []byte) error {
	f, err := judge(r.run, proof, &r.work)
	if err != nil {
		r.lose(ChallengerParty, Accusation, err)
		return nil
	}
	r.outcome = &Outcome{Winner: ChallengerParty, Reason: Fraud, Finding: f, Detail: f.String()}
	return nil
}

// answer takes a message of the prover.
func (r *Referee) answer(m *message) error {
	if m.Kind != r.due {
		return fmt.Errorf("a message of kind %d, want %d", m.Kind, r.due)
	}
	switch m.Kind {
	case kindTrace:
		return r.showTrace(m.Body)
	case kindStatement:
		return r.showCell(m.Body)
	}
	var b bodyNodes
	if err := canon.Unmarshal(m.Body, &b); err != nil {
		return err
	}
	roots, err := r.show(b.Nodes)
	if err == nil && roots[0] != r.below {
		err = errors.New("the hashes shown are not what is below the node that was named")
	}
	return err
}

// show takes the hashes of the parts of what was asked for, and gives the roots.
func (r *Referee) show(nodes Hashes) ([]canon.Hash, error) {
	parts := cut(r.asked, r.terms.Fanout)
	if len(nodes) != len(parts)*canon.Size {
		return nil, fmt.Errorf("%d bytes of hashes shown, want %d hashes", len(nodes), len(parts))
	}
	r.last = &reveal{slices.Clone(r.asked), parts, nodes.List()}
	r.work.Hashes += len(parts)
	return r.last.roots(), nil
}

func (r *Referee) showTrace(body []byte) error {
	var b bodyTrace
	if err := canon.Unmarshal(body, &b); err != nil {
		return err
	}
	t := &TraceStatement{Salt: b.Salt, Layers: b.Layers, Positions: r.claim.Positions(), Signature: b.Signature}
	if t.Layers < 1 || t.Layers > maxLayers {
		return fmt.Errorf("a trace of %d layers, want 1 to %d", t.Layers, maxLayers)
	}
	r.asked = forest(slices.Repeat([]int{t.Positions}, t.Layers)...)
	layers, err := r.show(b.Nodes)
	if err != nil {
		return err
	}
	t.Root = trace.RootOf(layers)
	r.work.Hashes += 2 * len(layers)
	r.trace = t
	return t.check(r.claim, &r.work)
}

func (r *Referee) showCell(body []byte) error {
	var b bodyStatement
	if err := canon.Unmarshal(body, &b); err != nil {
		return err
	}
	roots, err := r.show(b.Nodes)
	if err != nil {
		return err
	}
	r.made = &CellStatement{Roots: join(roots), Signature: b.Signature}
	return r.made.check(r.claim, r.cell, &r.work)
}
