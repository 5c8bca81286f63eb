// Package rpc makes calls between peers: unary and streaming, typed by the
// schema in proto, over the streams of any [Network]. Call [New] first, then
// [Node.Register] what this node serves and [Node.To] to call others.
//
// The framing of a call is that of storj.io/drpc: one call at a time on a
// stream, and streams kept for the next call. So a slow call holds up nobody
// else's, and the flow control of the stream below is the back-pressure of the
// call: who stops reading stops the writer. This package adds what drpc leaves
// to its user: a pool of streams with a bound, deadlines that travel, errors
// with codes, limits for each peer and method, and one place that asks whether
// a call is allowed. It opens no sockets; that is the mesh (spec/wire.md,
// part 3).
package rpc
