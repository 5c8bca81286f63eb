module github.com/avalnetwork/aval/test/gomlx

go 1.26.0

toolchain go1.26.8

require github.com/gomlx/gomlx v0.26.0
