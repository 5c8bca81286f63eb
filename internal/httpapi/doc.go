// Package httpapi serves language models over HTTP, in the dialects of OpenAI
// (/v1/...) and of Ollama (/api/...), with health and Prometheus metrics.
//
// Fill in a [Config], call [New], then [Server.Serve] on a listener, or mount
// [Server.Handler] elsewhere. What the server needs from the rest of the
// program are the small interfaces [Backend] and [Model], the latter mostly the
// methods of an engine, and, to fetch and remove models, [Puller] and [Deleter].
//
// Three habits of this package: a prompt that does not fit is refused with the
// numbers and never cut; a parameter that would change the output and is not
// supported is refused and never ignored; prompts, outputs and keys never
// reach a log line.
//
// The package does not do arithmetic, does not find or fetch model files, does
// not end TLS, and knows one API key, not users.
package httpapi
