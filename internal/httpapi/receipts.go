package httpapi

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/avalnetwork/aval/internal/audit"
	"github.com/avalnetwork/aval/internal/engine"
	"github.com/avalnetwork/aval/internal/exhibit"
	"github.com/avalnetwork/aval/internal/issuer"
	"github.com/avalnetwork/aval/receipt"
)

// receiptType is the media type of the file of a receipt.
const receiptType = "application/vnd.aval.receipt+cbor"

// maxAuditors bounds the keys that a receipt is sealed for.
const maxAuditors = 8

// receiptRequest is the field "receipt" of a request: what receipt is wanted.
type receiptRequest struct {
	Nonce   string         `json:"nonce"` // hex
	Beacon  *beaconRequest `json:"beacon"`
	Trace   bool           `json:"trace"`
	Privacy string         `json:"privacy"`
	Auditor stringList     `json:"auditor"` // public keys
}

type beaconRequest struct {
	Name  string `json:"name"`
	Round uint64 `json:"round"`
	Value string `json:"value"` // hex
}

// UnmarshalJSON refuses fields that it does not know: a misspelled wish for
// privacy must not be granted as none.
func (r *receiptRequest) UnmarshalJSON(b []byte) error {
	type plain receiptRequest
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	if err := dec.Decode((*plain)(r)); err != nil {
		return badRequest("receipt", "receipt: want an object with nonce, beacon, trace, privacy and auditor, each optional: %s", plainError(err))
	}
	return nil
}

// plainError says what is wrong without quoting the body.
func plainError(err error) string {
	if rest, ok := strings.CutPrefix(err.Error(), "json: unknown field "); ok {
		return fmt.Sprintf("it has no field %.60s", rest)
	}
	return decodeError(err).Error()
}

// apply converts the wish.
func (r *receiptRequest) apply(j *job) error {
	if r == nil {
		return nil
	}
	j.receiptAsked = true
	var err error
	if j.receipt.Hide, err = issuer.Privacy(r.Privacy).Hides(); err != nil {
		return badRequest("receipt.privacy", "receipt.%v", err)
	}
	j.receipt.Trace = r.Trace
	if len(r.Auditor) > maxAuditors {
		return badRequest("receipt.auditor", "receipt.auditor has %d keys, want at most %d", len(r.Auditor), maxAuditors)
	}
	for i, text := range r.Auditor {
		key, err := receipt.ParseAuditorKey(text)
		if err != nil {
			return badRequest("receipt.auditor", "receipt.auditor[%d]: %s", i, strings.TrimPrefix(err.Error(), "receipt: "))
		}
		j.receipt.Auditors = append(j.receipt.Auditors, key)
	}
	return r.applySeed(j)
}

func (r *receiptRequest) applySeed(j *job) error {
	var err error
	name := "receipt.nonce"
	switch {
	case r.Nonce != "" && r.Beacon != nil:
		return badRequest("receipt.beacon", "receipt.nonce and receipt.beacon exclude each other")
	case r.Nonce != "":
		j.receipt.Seed, err = issuer.ParseNonce(r.Nonce)
	case r.Beacon != nil:
		name = "receipt.beacon"
		j.receipt.Seed, err = issuer.ParseBeacon(r.Beacon.Name, r.Beacon.Round, r.Beacon.Value)
	default:
		return nil
	}
	switch {
	case err != nil:
		return badRequest(name, "%s: %v", name, err)
	case j.seeded:
		return badRequest(name, "%s and seed exclude each other: the seed follows from the former", name)
	case j.choices > 1:
		return badRequest("n", "n is %d, but %s fixes one answer: send a request with a nonce of its own for each", j.choices, name)
	}
	return nil
}

// given is a prompt, as tokens and as the client gave it.
type given struct {
	ids    []int32
	prompt issuer.Prompt
}

// answer is one answer of a request: what the model is asked, and the place of
// its receipt.
type answer struct {
	request engine.Request
	receipt *shelved // nil: none
}

// plan settles the seeds of the answers that a request asks for, j.choices of
// each prompt, begins their receipts, and tells the client both. The caller
// calls done when the request has been answered, or not.
func (s *Server) plan(w http.ResponseWriter, m Model, name string, j *job, prompts []given) (answers []answer, done func(), err error) {
	issue := m.Issuer()
	if s.shelf.most < 0 {
		issue = nil
	}
	if issue == nil && j.receiptAsked {
		return nil, nil, unsupported("receipt", "this server makes no receipts")
	}
	if !j.seeded {
		j.request.Params.Seed = s.cfg.Random() >> 11 // 53 bits, exact in every JSON reader
	}
	drafts := make([]*issuer.Draft, 0, len(prompts)*j.choices)
	for _, p := range prompts {
		for i := range j.choices {
			r := j.request
			r.Prompt = p.ids
			r.Params.Seed += uint64(i)
			if issue != nil {
				d, err := issue.Begin(&r, p.prompt, j.receipt)
				if err != nil {
					return nil, nil, err
				}
				drafts = append(drafts, d)
			}
			answers = append(answers, answer{request: r})
		}
	}
	var ids []string
	for i, d := range drafts {
		id := s.newReceiptID()
		answers[i].receipt = s.shelf.add(id, name, d)
		ids = append(ids, id)
	}
	if ids != nil {
		w.Header().Set("Aval-Receipt", strings.Join(ids, ","))
	}
	// With a nonce every prompt has a seed of its own.
	if j.receipt.Seed == nil || len(prompts) == 1 {
		w.Header().Set("Aval-Seed", strconv.FormatInt(int64(answers[0].request.Params.Seed), 10))
	}
	return answers, func() {
		for _, a := range answers {
			if a.receipt != nil {
				s.shelf.settle(a.receipt, shelfNone) // unless it was finished
			}
		}
	}, nil
}

// finish completes the receipt of an answer.
func (s *Server) finishReceipt(a *answer, res *engine.Result) {
	if a.receipt == nil {
		return
	}
	a.receipt.draft.Finish(res)
	s.shelf.settle(a.receipt, shelfDone)
}

// receiptJSON is what a client gets that asks for JSON.
type receiptJSON struct {
	exhibit.Exhibit
	File []byte `json:"file"` // the receipt's file, in base64
}

func (s *Server) handleReceipt(w http.ResponseWriter, r *http.Request) error {
	e, err := s.findReceipt(r.PathValue("id"))
	if err != nil {
		return err
	}
	f, err := e.draft.File(r.Context())
	if err != nil {
		return unavailable(err)
	}
	data, err := f.Marshal()
	if err != nil {
		return err
	}
	// It may show what only the asker should see.
	w.Header().Set("Cache-Control", "private, no-store")
	w.Header().Add("Vary", "Accept")
	if wantsJSON(r.Header.Values("Accept")) {
		s.writeJSON(w, http.StatusOK, receiptJSON{exhibit.Of(f), data})
		return nil
	}
	s.writeBytes(w, receiptType, data)
	return nil
}

// openingType is the media type of an opened trace.
const openingType = "application/vnd.aval.trace+cbor"

// handleReceiptAudit answers a challenge. It computes the whole answer again,
// so only one is answered at a time.
func (s *Server) handleReceiptAudit(w http.ResponseWriter, r *http.Request) error {
	e, err := s.findReceipt(r.PathValue("id"))
	if err != nil {
		return err
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, audit.MaxChallenge+1))
	if err != nil {
		return decodeError(err)
	}
	challenge, err := audit.DecodeChallenge(body)
	if err != nil {
		return challengeError(err)
	}
	f, err := e.draft.File(r.Context())
	if err != nil {
		return unavailable(err)
	}
	// States tell the tokens: what the receipt keeps to itself stays there.
	if ids := receipt.PartPrompt | receipt.PartOutput; f.Opening == nil || f.Opening.Parts()&ids != ids {
		return receiptError(http.StatusForbidden, "receipt_hidden",
			"this receipt hides the prompt or the answer, which parts of the computation would reveal: ask for one with privacy \"open\", or let an auditor compute the sealed one again")
	}
	if c := f.Receipt.Claims(); c.Trace.IsZero() {
		return challengeError(fmt.Errorf("the receipt has no trace: ask for one with the answer, by \"receipt\": {\"trace\": true}"))
	}
	leave, err := s.audits.enter(r.Context())
	if err != nil {
		return err
	}
	defer leave()
	return s.use(r.Context(), recordOf(r), e.model, OpenOptions{}, func(m Model, _ time.Duration) error {
		o, err := m.OpenTrace(r.Context(), f, challenge)
		if errors.Is(err, audit.ErrChallenge) {
			return challengeError(err)
		}
		if err != nil {
			return err
		}
		data, err := o.Encode()
		if err != nil {
			return err
		}
		w.Header().Set("Cache-Control", "private, no-store")
		s.writeBytes(w, openingType, data)
		return nil
	})
}

func challengeError(err error) error {
	e := badRequest("", "%v", err)
	e.code = "bad_challenge"
	return e
}

func unavailable(err error) error {
	if errors.Is(err, issuer.ErrChanged) {
		err = issuer.ErrChanged // the file is nobody's business
	}
	return receiptError(http.StatusNotFound, "receipt_unavailable", "this answer has no receipt: %v", err)
}

// findReceipt finds a receipt that can be made.
func (s *Server) findReceipt(id string) (*shelved, error) {
	e, state, ok := s.shelf.find(id)
	pending := func(format string, args ...any) error {
		err := receiptError(http.StatusConflict, "receipt_pending", format, args...)
		err.retryAfter = 1
		return err
	}
	switch {
	case !ok:
		return nil, receiptError(http.StatusNotFound, "receipt_not_found",
			"no receipt has this id: the server keeps them in memory only, the last %d of up to %d bytes together", s.shelf.most, s.shelf.mostSize)
	case state == shelfNone:
		return nil, receiptError(http.StatusNotFound, "no_receipt", "this answer has no receipt: it failed or was cancelled before its end")
	case state == shelfWriting:
		return nil, pending("the answer is still being written, and has its receipt at its end; ask again")
	case !e.draft.Ready():
		return nil, pending("the fingerprint of the model is still being computed; ask again")
	}
	return e, nil
}

func receiptError(status int, code, format string, args ...any) *apiError {
	return &apiError{status: status, kind: "invalid_request_error", code: code, param: "id", message: fmt.Sprintf(format, args...)}
}

// wantsJSON reports whether a client that takes JSON does not ask for the file.
func wantsJSON(accept []string) bool {
	all := strings.Join(accept, ",")
	return strings.Contains(all, "application/json") && !strings.Contains(all, receiptType)
}
