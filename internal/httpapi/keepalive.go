package httpapi

import (
	"encoding/json"
	"math"
	"time"
)

// keepAlive is a JSON number of seconds, or a string as "5m" or "300".
// Negative means for ever.
type keepAlive time.Duration

// UnmarshalJSON accepts the two forms.
func (k *keepAlive) UnmarshalJSON(b []byte) error {
	var v any
	if err := json.Unmarshal(b, &v); err != nil {
		return err
	}
	switch v := v.(type) {
	case nil:
		return nil
	case float64:
		*k = seconds(v)
		return nil
	case string:
		if d, err := time.ParseDuration(v); err == nil {
			*k = keepAlive(d)
			return nil
		}
		var n float64
		if json.Unmarshal([]byte(v), &n) == nil {
			*k = seconds(n)
			return nil
		}
	}
	return badRequest("keep_alive", `keep_alive: want seconds, or a duration as "5m", or -1 for ever`)
}

func seconds(v float64) keepAlive {
	const most = float64(math.MaxInt64 / int64(time.Second))
	if v < 0 || v > most {
		return -1
	}
	return keepAlive(v * float64(time.Second))
}

// open returns the options for opening a model.
func (k *keepAlive) open(context int) OpenOptions {
	opt := OpenOptions{Context: context}
	if k != nil {
		d := time.Duration(*k)
		opt.KeepAlive = &d
	}
	return opt
}
