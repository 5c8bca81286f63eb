package run_test

import (
	"strings"
	"testing"

	"github.com/avalnetwork/aval/internal/train"
	"github.com/avalnetwork/aval/internal/train/run"
	"github.com/avalnetwork/aval/receipt/training"
)

// A setup that says more than is read of it would claim what nobody checks.
func TestRebuildRefusesUnreadSetup(t *testing.T) {
	for _, c := range []struct{ learner, data, want string }{
		{`{"config":""} {"config":"another"}`, `{"data":1}`, "its learner cannot be read"},
		{`{"config":""}`, `{"data":1,"split":"by hand"}`, "its data cannot be read"},
		{`{"config":""}`, `{"data":1} {}`, "its data cannot be read"},
	} {
		s := training.Setup{Learner: []byte(c.learner), Data: []byte(c.data)}
		_, err := run.Rebuild(t.Context(), &training.Claims{Kind: training.Net}, &s, train.Config{}, run.Files{}, t.TempDir(), run.Options{})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s, %s: %v, want %q", c.learner, c.data, err, c.want)
		}
	}
}
