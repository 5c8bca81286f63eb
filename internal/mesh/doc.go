// Package mesh connects a node with its peers: it owns the sockets, finds peers
// on the local network and in a distributed hash table, goes through NATs by
// port mappings, hole punching and relays, and says what it tried. Call [New];
// the [Node] is the rpc.Network that calls run on. What is said to peers is not
// its business: see the packages rpc and wire. It is the only importer of
// libp2p (spec/wire.md, parts 1 and 2).
package mesh
