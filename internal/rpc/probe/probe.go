// Package probe asks peers whether they are there and how fast the way to them
// is. [Register] serves the questions; [Ping], [About], [Calls] and [Bulk] ask
// them. It is what "aval net ping" and "aval net bench" run, and measures the
// calls of the package rpc over any network, not the network below.
package probe

import (
	"context"
	"fmt"
	"io"
	"runtime"
	"slices"
	"sync"
	"time"

	"storj.io/drpc"

	"github.com/avalnetwork/aval/internal/peer"
	"github.com/avalnetwork/aval/internal/rpc"
	"github.com/avalnetwork/aval/internal/rpc/wire"
)

// Limits of what a peer may ask for.
const (
	MaxPayload = 1 << 20  // bytes of a ping
	MaxMessage = 1 << 20  // bytes of a message of Receive
	MaxReceive = 16 << 30 // bytes of a Receive
)

// Info is what a node tells of itself.
type Info struct {
	Version string
	// Observed gives from where a peer is seen to come; nil tells nothing.
	Observed func(id peer.ID) string
}

// Register serves the questions on a node.
func Register(n *rpc.Node, info Info) error {
	return n.Register(&server{info: info}, wire.DRPCNetServiceDescription{}, rpc.Limits{})
}

type server struct{ info Info }

func (s *server) Ping(_ context.Context, in *wire.PingRequest) (*wire.PingResponse, error) {
	if len(in.Payload) > MaxPayload {
		return nil, rpc.Errorf(rpc.InvalidArgument, "a ping of %d bytes, want at most %d", len(in.Payload), MaxPayload)
	}
	return &wire.PingResponse{Payload: in.Payload}, nil
}

func (s *server) About(ctx context.Context, _ *wire.AboutRequest) (*wire.AboutResponse, error) {
	call, _ := rpc.FromContext(ctx)
	out := &wire.AboutResponse{
		Version: s.info.Version, System: runtime.GOOS + "/" + runtime.GOARCH,
		UnixMilliseconds: time.Now().UnixMilli(), Relayed: call.Relayed,
	}
	if s.info.Observed != nil {
		out.ObservedAddress = s.info.Observed(call.Caller)
	}
	return out, nil
}

func (s *server) Receive(in *wire.ReceiveRequest, stream wire.DRPCNetService_ReceiveStream) error {
	if in.Bytes > MaxReceive || in.MessageBytes < 1 || in.MessageBytes > MaxMessage {
		return rpc.Errorf(rpc.InvalidArgument, "%d bytes in messages of %d, want at most %d in 1 to %d", in.Bytes, in.MessageBytes, uint64(MaxReceive), MaxMessage)
	}
	data := make([]byte, in.MessageBytes)
	for left := in.Bytes; left > 0; {
		n := min(left, uint64(len(data)))
		if err := stream.Send(&wire.ReceiveResponse{Data: data[:n]}); err != nil {
			return err
		}
		left -= n
	}
	return nil
}

// Ping sends a payload to a peer and back; it returns how long that took.
func Ping(ctx context.Context, conn drpc.Conn, payload []byte) (time.Duration, error) {
	start := time.Now()
	out, err := wire.NewDRPCNetServiceClient(conn).Ping(ctx, &wire.PingRequest{Payload: payload})
	if err == nil && !slices.Equal(out.Payload, payload) {
		err = rpc.Errorf(rpc.DataLoss, "the peer returned %d other bytes", len(out.Payload))
	}
	return time.Since(start), err
}

// maxText bounds what a peer says of itself.
const maxText = 256

// Peer is what a peer says of itself. It may say anything.
type Peer struct {
	Version  string `json:"version"`
	System   string `json:"system"`
	Observed string `json:"observed_address,omitempty"` // from where it sees us come
	Relayed  bool   `json:"relayed"`
	// Ahead is by how much its clock is before ours, give or take half of RoundTrip.
	Ahead     time.Duration `json:"clock_ahead"`
	RoundTrip time.Duration `json:"round_trip"`
}

// About asks a peer what it is.
func About(ctx context.Context, conn drpc.Conn) (*Peer, error) {
	start := time.Now()
	out, err := wire.NewDRPCNetServiceClient(conn).About(ctx, &wire.AboutRequest{})
	if err != nil {
		return nil, err
	}
	took := time.Since(start)
	if len(out.Version) > maxText || len(out.System) > maxText || len(out.ObservedAddress) > maxText {
		return nil, rpc.Errorf(rpc.InvalidArgument, "the peer says too much of itself")
	}
	return &Peer{
		Version: out.Version, System: out.System, Observed: out.ObservedAddress, Relayed: out.Relayed,
		Ahead: time.UnixMilli(out.UnixMilliseconds).Sub(start.Add(took / 2)), RoundTrip: took,
	}, nil
}

// Rate is what a measurement of calls gave.
type Rate struct {
	Calls     int           `json:"calls"`
	PerSecond float64       `json:"calls_per_second"`
	P50       time.Duration `json:"p50"`
	P99       time.Duration `json:"p99"`
	Max       time.Duration `json:"max"`
}

// maxSamples bounds the times that one worker of Calls remembers.
const maxSamples = 1 << 18

// Calls makes pings of some bytes, a number of them at once, for a while.
func Calls(ctx context.Context, conn drpc.Conn, bytes, parallel int, long time.Duration) (Rate, error) {
	payload := make([]byte, bytes)
	for i := range payload {
		payload[i] = byte(i * 7)
	}
	if _, err := Ping(ctx, conn, payload); err != nil { // connects
		return Rate{}, err
	}
	var (
		wg     sync.WaitGroup
		mu     sync.Mutex
		times  []time.Duration
		calls  int
		failed error
	)
	start := time.Now()
	for range parallel {
		wg.Go(func() {
			var own []time.Duration
			n := 0
			for n == 0 || time.Since(start) < long { // a busy machine may begin late
				took, err := Ping(ctx, conn, payload)
				if err != nil {
					mu.Lock()
					failed = err
					mu.Unlock()
					return
				}
				if n++; len(own) < maxSamples {
					own = append(own, took)
				}
			}
			mu.Lock()
			times, calls = append(times, own...), calls+n
			mu.Unlock()
		})
	}
	wg.Wait()
	took := time.Since(start)
	if failed != nil {
		return Rate{}, failed
	}
	slices.Sort(times)
	return Rate{
		Calls: calls, PerSecond: float64(calls) / took.Seconds(),
		P50: times[len(times)/2], P99: times[len(times)*99/100], Max: times[len(times)-1],
	}, nil
}

// Throughput is what a measurement of bytes gave.
type Throughput struct {
	Bytes     uint64        `json:"bytes"`
	PerSecond float64       `json:"bytes_per_second"`
	FirstByte time.Duration `json:"first_byte"`
}

// Bulk receives a number of bytes.
func Bulk(ctx context.Context, conn drpc.Conn, bytes uint64, message int) (Throughput, error) {
	start := time.Now()
	stream, err := wire.NewDRPCNetServiceClient(conn).Receive(ctx, &wire.ReceiveRequest{Bytes: bytes, MessageBytes: uint32(message)})
	if err != nil {
		return Throughput{}, err
	}
	defer stream.Close()
	t := Throughput{}
	for {
		out, err := stream.Recv()
		if err == io.EOF {
			break
		}
		if err != nil {
			return t, err
		}
		if t.Bytes == 0 {
			t.FirstByte = time.Since(start)
		}
		t.Bytes += uint64(len(out.Data))
		if t.Bytes > bytes {
			return t, rpc.Errorf(rpc.DataLoss, "the peer sends more than was asked for")
		}
	}
	t.PerSecond = float64(t.Bytes) / time.Since(start).Seconds()
	if t.Bytes != bytes {
		return t, fmt.Errorf("probe: %d of %d bytes came", t.Bytes, bytes)
	}
	return t, nil
}
