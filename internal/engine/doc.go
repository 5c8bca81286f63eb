// Package engine serves many requests with one model.
//
// Call [Open] with the path of a GGUF file, then [Engine.Prompt] to turn text
// or chat messages into tokens and [Engine.Generate] for each request, from as
// many goroutines as wanted; [Engine.Close] lets running requests finish.
//
// What a request returns is a function of the file, its prompt and its
// parameters. It does not depend on the other requests being served, on how
// the prompt was cut into chunks, on whether a cached prefix was reused, or on
// the number of threads.
//
// Inside, machine.go is the scheduler: a struct without goroutine, clock or
// lock that is stepped by its owner, the one goroutine in owner.go. The
// package does not choose models, speak HTTP, or keep conversations: callers
// send the whole prompt each time, and the prefix cache makes that cheap.
package engine
