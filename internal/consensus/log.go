package consensus

import (
	"context"
	"fmt"
	"log/slog"
	"strings"

	"github.com/cometbft/cometbft/libs/log"
)

// logger passes CometBFT's messages on, one level lower than it thinks, since
// what is news to a chain's operator is noise to the owner of a device.
type logger struct {
	to   *slog.Logger
	with []any
	// failed is told why the chain cannot go on, which CometBFT only logs.
	failed func(reason string)
}

var _ log.Logger = (*logger)(nil)

// levelTrace is below slog's lowest level.
const levelTrace = slog.LevelDebug - 4

func (l *logger) Debug(msg string, kv ...any) { l.log(levelTrace, msg, kv) }
func (l *logger) Info(msg string, kv ...any)  { l.log(slog.LevelDebug, msg, kv) }
func (l *logger) Warn(msg string, kv ...any)  { l.log(slog.LevelDebug, msg, kv) }

func (l *logger) Error(msg string, kv ...any) {
	if strings.HasPrefix(msg, "CONSENSUS FAILURE") {
		l.failed(value(kv, "err"))
		l.log(slog.LevelError, msg, kv)
		return
	}
	l.log(slog.LevelInfo, msg, kv) // mostly peers that come and go
}

func (l *logger) With(kv ...any) log.Logger {
	return &logger{to: l.to, with: append(l.with[:len(l.with):len(l.with)], kv...), failed: l.failed}
}

func (l *logger) log(level slog.Level, msg string, kv []any) {
	ctx := context.Background()
	if !l.to.Enabled(ctx, level) {
		return
	}
	attrs := make([]slog.Attr, 0, (len(kv)+len(l.with))/2)
	for _, list := range [][]any{l.with, kv} {
		for i := 0; i+1 < len(list); i += 2 {
			attrs = append(attrs, slog.String(fmt.Sprint(list[i]), fmt.Sprint(list[i+1])))
		}
	}
	l.to.LogAttrs(ctx, level, msg, attrs...)
}

// value finds the value of a name.
func value(kv []any, name string) string {
	for i := 0; i+1 < len(kv); i += 2 {
		if kv[i] == name {
			return fmt.Sprint(kv[i+1])
		}
	}
	return "for a reason that it does not give"
}
