// Package control is the door of a running node for commands on the same
// machine: one process [Open]s the node's folder, which keeps a second one out,
// and serves methods by name; the others [Dial] it and call them. A Unix socket
// carries it, or a port of the loopback interface where there can be none; either
// way a caller needs the token that only the owner of the folder can read. It
// knows nothing of what the methods do.
package control
