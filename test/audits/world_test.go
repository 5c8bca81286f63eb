// Package audits plays the game of audits on the ledger's machine with those
// who cheat, many times, and holds what comes of it to the formulas of
// docs/audits.md, whose tables it writes. There is nothing to call; run
// "go test ./test/audits", and with -run TestDocument -update after a change.
// It does not compute with a model: what an auditor would find is told to it.
package audits_test

import (
	"bytes"
	"crypto/ed25519"
	"encoding/binary"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/avalnetwork/aval/internal/canon"
	"github.com/avalnetwork/aval/internal/ledger"
	"github.com/avalnetwork/aval/internal/receiptlog"
	"github.com/avalnetwork/aval/receipt"
)

const chain = "simulation"

// party is an account with a node.
type party struct {
	key, node ed25519.PrivateKey
	policy    ledger.Policy
	addr      ledger.Address
	nonce     uint64
}

func newParty(n int) *party {
	seed := canon.Sum("aval simulated account", binary.AppendUvarint(nil, uint64(n)))
	other := canon.Sum("aval simulated node", binary.AppendUvarint(nil, uint64(n)))
	p := &party{key: ed25519.NewKeyFromSeed(seed[:]), node: ed25519.NewKeyFromSeed(other[:])}
	p.policy = ledger.Single(p.key.Public().(ed25519.PublicKey))
	p.addr = p.policy.Address()
	return p
}

func (p *party) id() []byte { return p.node.Public().(ed25519.PublicKey) }

// setting is a network.
type setting struct {
	rate     uint64 // of audits, in ten thousandths
	batch    int    // receipts
	auditors int
	bribed   int // of the auditors: they call everything right, and agree with the others
	lies     int // of a batch
	plants   int // of a batch
}

const (
	providerBond = 1_000 * ledger.Unit
	auditorBond  = 1_000 * ledger.Unit
)

// network is a chain with a provider and auditors.
type network struct {
	t        testing.TB
	setting  setting
	m        *ledger.Machine
	rand     *rand.Rand
	seed     uint64
	now      uint64
	provider *party
	auditors []*party
	log      *receiptlog.Tree
	ids      []canon.Hash // of the log
	lies     map[uint64]bool
	plants   map[uint64]*planted
	said     map[*party][]ledger.Finding
}

type planted struct {
	receipt receipt.Receipt
	salt    []byte
}

// params are the default ones, with spans as short as can be: nobody here needs
// time.
func (s setting) params() ledger.Params {
	p := ledger.DefaultParams()
	p.Audit.Rate = s.rate
	p.Audit.Delay, p.Audit.Commit, p.Audit.Each, p.Audit.Reveal, p.Audit.Settle = 2, 6, 0, 4, 4
	return p
}

func newNetwork(t testing.TB, s setting, seed uint64) *network {
	n := &network{
		t: t, setting: s, rand: rand.New(rand.NewPCG(seed, 7)), seed: seed, now: 1_000,
		lies: map[uint64]bool{}, plants: map[uint64]*planted{}, said: map[*party][]ledger.Finding{},
	}
	var err error
	if n.log, err = receiptlog.NewTree(0, nil); err != nil {
		t.Fatal(err)
	}
	params := s.params()
	g := &ledger.Genesis{Chain: chain, Time: 1_000, Params: &params}
	for i := range s.auditors + 1 {
		p := newParty(i)
		g.Accounts = append(g.Accounts, ledger.GenesisAccount{Address: p.addr, Balance: 1_000_000 * ledger.Unit})
		if i == 0 {
			n.provider = p
			g.Validators = []ledger.GenesisValidator{{Key: canon.Hash(p.id()), Operator: p.addr, Power: 1, Bond: params.ValidatorBond}}
		} else {
			n.auditors = append(n.auditors, p)
		}
	}
	if n.m, err = ledger.New(g); err != nil {
		t.Fatal(err)
	}
	n.send(n.provider, ledger.KindBond, &ledger.Bond{Key: n.provider.id(), Amount: providerBond, Proof: ledger.ProveBond(n.provider.node, chain, ledger.RoleNode, n.provider.addr)})
	for _, a := range n.auditors {
		n.send(a, ledger.KindBond, &ledger.Bond{Key: a.id(), Amount: auditorBond, Proof: ledger.ProveBond(a.node, chain, ledger.RoleNode, a.addr)})
		n.send(a, ledger.KindAuditor, &ledger.SetAuditor{Key: a.id(), On: true})
	}
	return n
}

// send lets a block with a transaction happen, which must succeed.
func (n *network) send(p *party, kind ledger.Kind, payload any) {
	n.t.Helper()
	b, err := ledger.NewBody(chain, p.addr, p.nonce, 1_000_000, kind, payload)
	if err != nil {
		n.t.Fatal(err)
	}
	tx, err := b.Sign(p.policy, p.key)
	if err != nil {
		n.t.Fatal(err)
	}
	p.nonce++
	n.block(tx)
}

func (n *network) block(txs ...[]byte) {
	n.t.Helper()
	h := n.m.Height() + 1
	n.now += 100
	beacon := canon.Sum("aval simulated beacon", binary.BigEndian.AppendUint64(nil, n.seed), binary.BigEndian.AppendUint64(nil, h))
	if err := n.m.Begin(ledger.Block{Height: h, Time: n.now, Proposer: n.provider.id(), Beacon: beacon}); err != nil {
		n.t.Fatal(err)
	}
	for _, tx := range txs {
		if res := n.m.Apply(tx); res.Code != ledger.CodeOK {
			n.t.Fatalf("%s: %s", res.Code, res.Detail)
		}
	}
	n.m.End()
}

// node is the entry of a node.
func (n *network) node(p *party) *ledger.Node {
	n.t.Helper()
	s := n.m.State()
	key := append([]byte("n"), p.id()...)
	raw, _ := s.Get(key)
	_, v, err := ledger.Entry(key, raw)
	if err != nil {
		n.t.Fatal(err)
	}
	return v.(*ledger.Node)
}

// answers adds a batch to the provider's log, with lies and plants in it, and
// posts it.
func (n *network) answers() {
	n.t.Helper()
	from := n.log.Size()
	special := n.rand.Perm(n.setting.batch)[:n.setting.lies+n.setting.plants]
	for i := range n.setting.batch {
		at := from + uint64(i)
		id := canon.Sum("aval simulated receipt", binary.BigEndian.AppendUint64(nil, at))
		switch j := slices.Index(special, i); {
		case j >= 0 && j < n.setting.lies:
			n.lies[at] = true
		case j >= 0:
			id = n.plant(at)
		}
		n.ids = append(n.ids, id)
		n.log.Append(receiptlog.Leaf(id))
	}
	size := n.log.Size()
	root, err := receiptlog.Root(n.log, size)
	if err != nil {
		n.t.Fatal(err)
	}
	proof, err := receiptlog.Consistency(n.log, from, size)
	if err != nil {
		n.t.Fatal(err)
	}
	n.send(n.provider, ledger.KindBatch, &ledger.Batch{Key: n.provider.id(), Size: size, Root: root, Proof: proof, Signature: ledger.SignBatch(n.provider.node, size, root)})
}

// plant makes a planted receipt, promised on the ledger.
func (n *network) plant(at uint64) canon.Hash {
	n.t.Helper()
	h := canon.Sum("aval simulated salt", binary.BigEndian.AppendUint64(nil, at))
	nonce := ledger.PlantNonce(h[:], n.provider.id())
	o, err := receipt.Commit(receipt.Salt{1}, &receipt.Transcript{Source: receipt.Source{Kind: receipt.SourceIDs}, Prompt: []int32{1}, Output: []int32{2}})
	if err != nil {
		n.t.Fatal(err)
	}
	c := receipt.Claims{Model: canon.Sum("aval simulated model"), Seed: receipt.NonceSeed(nonce[:]), Time: 1, Params: receipt.Params{MaxTokens: 1}, Stop: receipt.StopLength}
	o.Fill(&c)
	c.Trace = receipt.Hash{}
	r, err := receipt.Sign(c, n.provider.node)
	if err != nil {
		n.t.Fatal(err)
	}
	n.plants[at] = &planted{r, h[:]}
	n.send(n.provider, ledger.KindPlant, &ledger.MakePlant{Commitment: ledger.PlantCommitment(r.Hash(), h[:])})
	return r.Hash()
}

var salt = bytes.Repeat([]byte{1}, 16)

// audit lets the audits of the batch go to their end.
func (n *network) audit() {
	n.t.Helper()
	contested := map[uint64]bool{}
	for n.m.FreeTick() != nil {
		acted := false
		for i, a := range n.auditors {
			s := n.m.State()
			for _, d := range ledger.Duties(&s, a.id()) {
				acted = n.act(a, i < n.setting.bribed, &d) || acted
			}
		}
		acted = n.contest(contested) || acted
		if !acted {
			n.block(n.m.FreeTick())
		}
	}
}

// act does the duty of an auditor as the kind of auditor that it is does it.
func (n *network) act(a *party, bribed bool, d *ledger.Duty) bool {
	switch d.Task {
	case ledger.TaskCommit:
		findings := []ledger.Finding{}
		for j, i := range d.Indices {
			if n.lies[i] && !bribed {
				return n.demand(a, d, uint64(j))
			}
			// What a bribed auditor says is what the provider told it: the same
			// as the others', or if nobody works, what they agreed on.
			root := canon.Sum("aval simulated trace", n.ids[i][:])
			findings = append(findings, ledger.Finding{Verdict: ledger.Right, Digest: ledger.WorkDigest(d.ID, i, n.ids[i], root, 1, 1)})
			if n.plants[i] != nil {
				findings[j].Digest = canon.Sum("aval simulated invention", n.ids[i][:])
				if !bribed {
					findings[j] = ledger.Finding{Verdict: ledger.False, Digest: n.ids[i]}
				}
			}
		}
		n.said[a] = findings
		n.send(a, ledger.KindCommit, &ledger.Commit{Audit: d.Audit, Auditor: a.id(), Commitment: ledger.CommitmentOf(d.ID, a.id(), salt, findings)})
		return true
	case ledger.TaskReveal:
		n.send(a, ledger.KindReveal, &ledger.Reveal{Audit: d.Audit, Auditor: a.id(), Salt: salt, Findings: n.said[a]})
		return true
	}
	return false
}

var sealed = func() string {
	s, err := receipt.NewAuditorSecret(false)
	if err != nil {
		panic(err)
	}
	return s.Public().String()
}()

// demand asks for a receipt that the provider cannot show without being
// convicted, so it does not.
func (n *network) demand(a *party, d *ledger.Duty, place uint64) bool {
	s := n.m.State()
	for _, open := range ledger.Duties(&s, n.provider.id()) {
		if open.Task == ledger.TaskAnswer {
			return false // somebody asked already
		}
	}
	n.send(a, ledger.KindDemand, &ledger.Demand{Audit: d.Audit, Auditor: a.id(), Place: place, Key: sealed})
	return true
}

// contest lets the provider show the planted receipts that were drawn.
func (n *network) contest(done map[uint64]bool) bool {
	if len(n.plants) == 0 {
		return false
	}
	s := n.m.State()
	for k, raw := range s.Ascend([]byte("k")) {
		_, v, err := ledger.Entry(k, raw)
		if err != nil {
			n.t.Fatal(err)
		}
		a, size := v.(*ledger.Audit), binary.BigEndian.Uint64(k[33:])
		if a.Phase != ledger.PhaseSettle {
			continue
		}
		for place, i := range a.Indices(size) {
			p := n.plants[i]
			if p == nil || done[i] {
				continue
			}
			proof, err := receiptlog.Inclusion(n.log, size, i)
			if err != nil {
				n.t.Fatal(err)
			}
			done[i] = true
			n.send(n.provider, ledger.KindContest, &ledger.Challenge{
				Audit: ledger.AuditRef{Node: n.provider.id(), Size: size}, Place: uint64(place), Receipt: p.receipt.Bytes(), Proof: proof, Salt: p.salt,
			})
			return true
		}
	}
	return false
}
