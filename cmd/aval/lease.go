package main

import (
	"sync"

	"github.com/avalnetwork/aval/internal/engine"
	"github.com/avalnetwork/aval/internal/httpapi"
	"github.com/avalnetwork/aval/internal/issuer"
)

// lease is one request's share of a model in memory. It is the engine, except
// that closing it gives the share back.
type lease struct {
	*engine.Engine
	host   *host
	hosted *hosted
	once   sync.Once
}

// Close gives the share back.
func (l *lease) Close() { l.once.Do(func() { l.host.release(l.hosted) }) }

// Issuer makes the receipts of the answers.
func (l *lease) Issuer() *issuer.Issuer { return l.hosted.issuer }

// Info describes the model.
func (l *lease) Info() httpapi.ModelInfo { return l.hosted.info }

// Piece returns the bytes of a token.
func (l *lease) Piece(id int32) []byte { return l.Tokenizer().Piece(id) }
