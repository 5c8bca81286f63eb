//go:build js && wasm

// Command wasm stub.
package main

import (
	"syscall/js"
	"github.com/avalnetwork/aval/internal/engine"
)

func main() {
	_ = engine.Open
	js.Global().Set("aval", js.FuncOf(func(_ js.Value, args []js.Value) any {
		b := args[0]
		go func() {
			r := js.Global().Get("FileReaderSync").New()
			buf := js.Global().Get("Uint8Array").New(r.Call("readAsArrayBuffer", b))
			args[3].Invoke(map[string]any{"html": "<p>hello "+ js.ValueOf(buf.Length()).String()+"</p>", "title": "x", "page": "p", "computable": true})
		}()
		return nil
	}))
	js.Global().Call("postMessage", map[string]any{"ready": true})
	select {}
}
