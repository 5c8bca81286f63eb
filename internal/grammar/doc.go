// Package grammar is being written.
package grammar
