// Package wire is the messages and services of the data protocol, as they are
// generated from proto/aval/v1 (spec/wire.md, part 4). Services are served with
// rpc.Node.Register and called through rpc.Node.To; what a message may hold is
// checked where it is used, not here.
package wire

//go:generate go -C ../../.. tool -modfile=tools/buf/go.mod buf lint
//go:generate go -C ../../.. tool -modfile=tools/buf/go.mod buf generate
