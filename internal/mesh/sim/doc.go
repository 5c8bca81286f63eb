// Package sim is an Internet in memory, for tests with hundreds of nodes in one
// process. Call New first, then Network.Options for each node's mesh.Config:
// the node then speaks QUIC over packets that are delayed, lost and cut off as
// the Config and the test say, all from one seed. It works in real time and in
// the bubbles of testing/synctest. It does not model routers with address
// translation: test/nat does that with real ones.
package sim
