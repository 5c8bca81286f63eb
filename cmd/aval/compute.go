package main

import (
	"context"

	"github.com/avalnetwork/aval/internal/fingerprint"
)

// compute computes the answer of a receipt again and adds what came of it.
func (a *app) compute(ctx context.Context, o *verifyOptions, v *verification) error {
	return nil
}

var _ fingerprint.Cache
