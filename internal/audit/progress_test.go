package audit_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/avalnetwork/aval/internal/audit"
	"github.com/avalnetwork/aval/internal/engine"
)

func TestProgress(t *testing.T) {
	e := open(t, "f32", engine.Options{})
	f := answer(t, e, story()).sign(t)
	var got [][2]int
	a := audit.Auditor{
		Engine: e, Model: fingerprint, Pass: 12,
		Progress: func(done, all int) { got = append(got, [2]int{done, all}) },
	}
	r, err := a.Full(t.Context(), f, options())
	if err != nil || r.Failed() != nil {
		t.Fatalf("%v\n%s", err, &r)
	}
	c := f.Receipt.Claims()
	n := c.PromptTokens + c.OutputTokens - 1
	var want [][2]int
	for done := 12; done < n+12; done += 12 {
		want = append(want, [2]int{min(done, n), n})
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}
