package httpapi

import (
	"bytes"
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"time"
)

// encode returns the JSON of a value, without the escapes that only HTML needs.
func encode(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// writeJSON sends a whole answer. A client that is gone is not an error.
func (s *Server) writeJSON(w http.ResponseWriter, status int, v any) {
	body, err := encode(v)
	if err != nil {
		panic("httpapi: internal error: cannot encode an answer: " + err.Error())
	}
	body = append(body, '\n')
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(s.cfg.WriteTimeout))
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	_, _ = w.Write(body)
}

// writeBytes sends a whole answer that is not JSON and may be large.
func (s *Server) writeBytes(w http.ResponseWriter, mediaType string, body []byte) {
	const piece = 1 << 20
	rc := http.NewResponseController(w)
	w.Header().Set("Content-Type", mediaType)
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	for part := range slices.Chunk(body, piece) {
		_ = rc.SetWriteDeadline(time.Now().Add(s.cfg.WriteTimeout))
		if _, err := w.Write(part); err != nil {
			return // the client is gone
		}
	}
}

// stream sends an answer in pieces: server-sent events to OpenAI's clients,
// lines of JSON to Ollama's. Each piece is flushed. It is not safe for
// concurrent use.
type stream struct {
	w       http.ResponseWriter
	rc      *http.ResponseController
	dialect dialect
	timeout time.Duration
	begun   bool
	buf     bytes.Buffer
}

// newStream prepares a stream; nothing is sent before the first piece, so that
// an error until then can still have its own status.
func (s *Server) newStream(w http.ResponseWriter, r *http.Request, d dialect) *stream {
	st := &stream{w: w, rc: http.NewResponseController(w), dialect: d, timeout: s.cfg.WriteTimeout}
	recordOf(r).stream = st
	return st
}

func (st *stream) begin() {
	if st.begun {
		return
	}
	st.begun = true
	h := st.w.Header()
	if st.dialect == openAI {
		h.Set("Content-Type", "text/event-stream")
	} else {
		h.Set("Content-Type", "application/x-ndjson")
	}
	h.Set("Cache-Control", "no-cache")
	h.Set("X-Accel-Buffering", "no") // for reverse proxies that would collect
	st.w.WriteHeader(http.StatusOK)
}

// send sends one piece.
func (st *stream) send(v any) error {
	body, err := encode(v)
	if err != nil {
		panic("httpapi: internal error: cannot encode a piece of an answer: " + err.Error())
	}
	return st.write(body)
}

// done ends a stream of server-sent events.
func (st *stream) done() error {
	if st.dialect == openAI {
		return st.write([]byte("[DONE]"))
	}
	return nil
}

// fail tells the client that the rest of the stream will not come.
func (st *stream) fail(e *apiError) {
	if e.status != statusClientGone {
		_ = st.send(e.body(st.dialect))
	}
}

func (st *stream) write(body []byte) error {
	st.begin()
	st.buf.Reset()
	if st.dialect == openAI {
		st.buf.WriteString("data: ")
		st.buf.Write(body)
		st.buf.WriteString("\n\n")
	} else {
		st.buf.Write(body)
		st.buf.WriteByte('\n')
	}
	_ = st.rc.SetWriteDeadline(time.Now().Add(st.timeout))
	if _, err := st.w.Write(st.buf.Bytes()); err != nil {
		return goneError(err)
	}
	if err := st.rc.Flush(); err != nil {
		return goneError(err)
	}
	return nil
}

// goneError marks an error of the connection, which is nobody's fault here.
func goneError(err error) error {
	e := *errClientGone
	e.cause = err
	return &e
}
