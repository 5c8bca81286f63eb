package httpapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"reflect"
	"strconv"
	"strings"

	"github.com/avalnetwork/aval/internal/engine"
	"github.com/avalnetwork/aval/internal/sample"
)

// statusClientGone is logged when nobody is left to read an answer.
const statusClientGone = 499

// apiError is an error as a client sees it.
type apiError struct {
	status     int
	kind       string // OpenAI's "type"
	code       string
	param      string
	message    string
	retryAfter int // seconds; 0 for none
	cause      error
}

func (e *apiError) Error() string { return e.message }
func (e *apiError) Unwrap() error { return e.cause }

// badRequest says that a field of a request is wrong and what to do.
func badRequest(param, format string, args ...any) *apiError {
	return &apiError{
		status: http.StatusBadRequest, kind: "invalid_request_error", code: "invalid_value",
		param: param, message: fmt.Sprintf(format, args...),
	}
}

// unsupported says that a field asks for what this server does not have.
func unsupported(param, format string, args ...any) *apiError {
	e := badRequest(param, format, args...)
	e.code = "unsupported_parameter"
	return e
}

func notImplemented(format string, args ...any) *apiError {
	return &apiError{
		status: http.StatusNotImplemented, kind: "not_supported_error", code: "not_implemented",
		message: fmt.Sprintf(format, args...),
	}
}

var errClosing = &apiError{
	status: http.StatusServiceUnavailable, kind: "server_error", code: "shutting_down",
	message: "the server is shutting down", retryAfter: 5,
}

var errClientGone = &apiError{status: statusClientGone, kind: "server_error", code: "cancelled", message: "the request was cancelled"}

// toAPIError maps what can go wrong below a handler to what clients see.
func toAPIError(err error) *apiError {
	var (
		api     *apiError
		tooLong *engine.PromptTooLongError
		tooBig  *http.MaxBytesError
	)
	switch {
	case errors.As(err, &api):
		return api
	case errors.As(err, &tooLong):
		return promptTooLong(tooLong.Prompt, tooLong.Context, tooLong.Model)
	case errors.Is(err, ErrModelNotFound):
		return &apiError{
			status: http.StatusNotFound, kind: "invalid_request_error", code: "model_not_found",
			param: "model", message: err.Error(), cause: err,
		}
	case errors.Is(err, engine.ErrRequest), errors.Is(err, engine.ErrEmptyPrompt), errors.Is(err, sample.ErrParams):
		e := badRequest("", "%s", strings.TrimPrefix(err.Error(), engine.ErrRequest.Error()+": "))
		e.cause = err
		return e
	case errors.Is(err, engine.ErrBusy):
		return &apiError{
			status: http.StatusTooManyRequests, kind: "rate_limit_error", code: "queue_full", retryAfter: 1,
			message: "too many requests are waiting; try again later", cause: err,
		}
	case errors.Is(err, engine.ErrClosed):
		return errClosing
	case errors.As(err, &tooBig):
		return &apiError{
			status: http.StatusRequestEntityTooLarge, kind: "invalid_request_error", code: "request_too_large",
			message: fmt.Sprintf("the request is longer than %d bytes, which is this server's limit", tooBig.Limit), cause: err,
		}
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return errClientGone
	}
	return &apiError{
		status: http.StatusInternalServerError, kind: "server_error", code: "internal_error",
		message: "internal error: " + err.Error(), cause: err,
	}
}

// promptTooLong refuses a prompt that does not fit. trained is how many tokens
// the model was trained for, 0 if not known.
func promptTooLong(prompt, context, trained int) *apiError {
	message := fmt.Sprintf("the prompt has %d tokens and the context holds %d, of which the answer needs at least one; "+
		"nothing was cut: shorten the prompt by %d or more", prompt, context, prompt+1-context)
	if trained == 0 || prompt < trained {
		message += fmt.Sprintf(", or serve the model with a context of %d or more", prompt+1)
	}
	return &apiError{
		status: http.StatusBadRequest, kind: "invalid_request_error", code: "context_length_exceeded",
		param: "messages", message: message,
	}
}

// dialect is how an error looks in one of the two protocols.
type dialect int

const (
	openAI dialect = iota
	ollama
)

type openAIError struct {
	Error openAIErrorBody `json:"error"`
}

type openAIErrorBody struct {
	Message string  `json:"message"`
	Type    string  `json:"type"`
	Param   *string `json:"param"`
	Code    *string `json:"code"`
}

type ollamaError struct {
	Error string `json:"error"`
}

// body returns what is sent for the error.
func (e *apiError) body(d dialect) any {
	if d == ollama {
		return ollamaError{e.message}
	}
	b := openAIErrorBody{Message: e.message, Type: e.kind}
	if e.param != "" {
		b.Param = &e.param
	}
	if e.code != "" {
		b.Code = &e.code
	}
	return openAIError{b}
}

func (s *Server) writeError(w http.ResponseWriter, d dialect, e *apiError) {
	if e.retryAfter > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(e.retryAfter))
	}
	s.writeJSON(w, e.status, e.body(d))
}

// decode reads one JSON value into dst and nothing else.
func decode(r io.Reader, dst any) error {
	dec := json.NewDecoder(r)
	if err := dec.Decode(dst); err != nil {
		return decodeError(err)
	}
	if _, err := dec.Token(); err != io.EOF {
		if tooBig := (*http.MaxBytesError)(nil); errors.As(err, &tooBig) {
			return err
		}
		return badRequest("", "the body goes on after its JSON object")
	}
	return nil
}

// decodeError says where a body is wrong. It does not quote the body.
func decodeError(err error) error {
	var (
		syntax *json.SyntaxError
		typ    *json.UnmarshalTypeError
		api    *apiError
		tooBig *http.MaxBytesError
	)
	switch {
	case errors.As(err, &api), errors.As(err, &tooBig):
		return err
	case errors.Is(err, os.ErrDeadlineExceeded):
		return &apiError{
			status: http.StatusRequestTimeout, kind: "invalid_request_error", code: "request_timeout",
			message: "the body did not arrive in time", cause: err,
		}
	case errors.Is(err, io.EOF):
		return badRequest("", "the body is empty; want a JSON object")
	case errors.Is(err, io.ErrUnexpectedEOF):
		return badRequest("", "the body ends within its JSON object")
	case errors.As(err, &syntax):
		return badRequest("", "the body is not JSON: %s at byte %d", syntax.Error(), syntax.Offset)
	case errors.As(err, &typ):
		field := clientField(typ.Field)
		return badRequest(field, "%s: found a JSON %s, want %s", fieldName(field), typ.Value, kindName(typ.Type))
	}
	return badRequest("", "the body cannot be read: %v", err)
}

// kindName says in JSON's words what a Go type wants.
func kindName(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Struct, reflect.Map:
		return "an object"
	case reflect.Slice, reflect.Array:
		return "an array"
	case reflect.String:
		return "a string"
	case reflect.Bool:
		return "true or false"
	case reflect.Float32, reflect.Float64:
		return "a number"
	}
	return "a whole number"
}

// clientField is the path of a field as the client wrote it: encoding/json
// names the Go structs that fields are embedded in, too.
func clientField(path string) string {
	for _, name := range []string{"sampling", "refused", "ollamaCommon"} {
		if rest, ok := strings.CutPrefix(path, name+"."); ok {
			return rest
		}
	}
	return path
}

func fieldName(f string) string {
	if f == "" {
		return "body"
	}
	return f
}
