// Package doctor says in plain words why a node can or cannot be reached, and
// what its owner can change. The mesh notes what it tried and saw in
// Observations; call Examine first, which gives a Report for a screen or for
// programs. Explain answers for one peer. The package is pure: it opens no
// socket, reads no clock, asks nobody, so that the same observations always
// give the same words. What peers sent (error texts, addresses) is shown only
// after it was cut and cleaned.
package doctor
