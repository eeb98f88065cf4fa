// Command go-client calls one server over one channel from many goroutines, and prints a report in
// JSON.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/credentials/insecure"

	"gannet.invalid/bench/common"
	"gannet.invalid/bench/gen/echo"
	"gannet.invalid/bench/gen/grpctest"
)

const connectTimeout = 20 * time.Second

const (
	warmingUp int32 = iota
	measured
	over
)

// run is what all goroutines look at to know whether their calls count and when to end.
type run struct {
	phase     atomic.Int32
	limited   bool
	callsLeft atomic.Int64
	failed    chan error
}

// another tells whether there is another call to make.
func (r *run) another() bool {
	if r.limited {
		return r.callsLeft.Add(-1) >= 0
	}
	return r.phase.Load() != over
}

// wait lets the goroutines work so long, or until one fails.
func (r *run) wait(seconds float64) {
	select {
	case err := <-r.failed:
		log.Fatal(err)
	case <-time.After(time.Duration(seconds * float64(time.Second))):
	}
}

// tally is what one goroutine counted.
type tally struct {
	messages  uint64
	latencies []time.Duration
}

// mode makes one call, and tells how many messages it brought.
type mode func(ctx context.Context) (messages int, err error)

// work makes calls, one after the other.
func (r *run) work(call mode, t *tally) {
	for r.another() {
		began := time.Now()
		messages, err := call(context.Background())
		if err != nil {
			r.failed <- err
			return
		}
		// What ends in the time that is measured counts, wherever it began.
		if r.phase.Load() == measured {
			t.latencies = append(t.latencies, time.Since(began))
			t.messages += uint64(messages)
		}
	}
}

// expect fails where a body is not what was sent or wanted.
func expect(body []byte, size int) error {
	right := len(body) == size
	if right && size > 0 {
		right = body[0] == common.Fill && body[size-1] == common.Fill
	}
	if !right {
		return fmt.Errorf("a wrong body of %d bytes instead of %d", len(body), size)
	}
	return nil
}

func unary(conn *grpc.ClientConn) mode {
	client := grpctest.NewGrpctestClient(conn)
	request := &grpctest.Message{Message: "hello"}
	expected := common.Greeting("hello")
	return func(ctx context.Context) (int, error) {
		reply, err := client.GetServerResponse(ctx, request)
		if err != nil {
			return 0, err
		}
		if !reply.GetReceived() || reply.GetMessage() != expected {
			return 0, fmt.Errorf("a wrong reply: %v", reply)
		}
		return 1, nil
	}
}

func large(conn *grpc.ClientConn, size int) mode {
	client := echo.NewEchoClient(conn)
	request := payload(size)
	return func(ctx context.Context) (int, error) {
		reply, err := client.Unary(ctx, request)
		if err != nil {
			return 0, err
		}
		return 1, expect(reply.GetBody(), size)
	}
}

func serverStream(conn *grpc.ClientConn, messages, size int) mode {
	client := echo.NewEchoClient(conn)
	want := &echo.Want{Messages: uint32(messages), Bytes: uint32(size)}
	return func(ctx context.Context) (int, error) {
		stream, err := client.ServerStream(ctx, want)
		if err != nil {
			return 0, err
		}
		return receive(stream.Recv, messages, size)
	}
}

// bidi sends without waiting for what comes back.
func bidi(conn *grpc.ClientConn, messages, size int) mode {
	client := echo.NewEchoClient(conn)
	request := payload(size)
	return func(ctx context.Context) (int, error) {
		stream, err := client.BidiStream(ctx)
		if err != nil {
			return 0, err
		}
		go func() {
			for range messages {
				if stream.Send(request) != nil {
					// What is wrong, Recv tells.
					return
				}
			}
			_ = stream.CloseSend()
		}()
		return receive(stream.Recv, messages, size)
	}
}

// receive reads a stream to its end.
func receive(recv func() (*echo.Payload, error), messages, size int) (int, error) {
	for received := 0; ; received++ {
		reply, err := recv()
		if errors.Is(err, io.EOF) {
			if received != messages {
				return 0, fmt.Errorf("%d messages came instead of %d", received, messages)
			}
			return received, nil
		}
		if err != nil {
			return 0, err
		}
		if err := expect(reply.GetBody(), size); err != nil {
			return 0, err
		}
	}
}

func payload(size int) *echo.Payload {
	return &echo.Payload{Body: bytes.Repeat([]byte{common.Fill}, size)}
}

func choose(name string, conn *grpc.ClientConn, messages, size int) (mode, error) {
	if size < 0 {
		size = 16
		if name == "large" {
			size = 1 << 20
		}
	}
	switch name {
	case "unary":
		return unary(conn), nil
	case "large":
		return large(conn, size), nil
	case "server-stream":
		return serverStream(conn, messages, size), nil
	case "bidi":
		return bidi(conn, messages, size), nil
	}
	return nil, fmt.Errorf("unknown mode %s", name)
}

func connect(addr string) (*grpc.ClientConn, error) {
	conn, err := grpc.NewClient("passthrough:///"+addr,
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(
			grpc.MaxCallRecvMsgSize(common.MessageBytesMax),
			grpc.MaxCallSendMsgSize(common.MessageBytesMax),
		))
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), connectTimeout)
	defer cancel()
	conn.Connect()
	for state := conn.GetState(); state != connectivity.Ready; state = conn.GetState() {
		if !conn.WaitForStateChange(ctx, state) {
			return nil, fmt.Errorf("cannot connect to %s: %w", addr, ctx.Err())
		}
	}
	return conn, nil
}

func cpuSeconds() float64 {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		log.Fatal(err)
	}
	return float64(usage.Utime.Nano()+usage.Stime.Nano()) / 1e9
}

type report struct {
	Calls    uint64  `json:"calls"`
	Messages uint64  `json:"messages"`
	Elapsed  float64 `json:"elapsed_s"`
	CPU      float64 `json:"cpu_s"`
	P50      float64 `json:"p50_us"`
	P99      float64 `json:"p99_us"`
	P999     float64 `json:"p999_us"`
}

func (r *report) add(tallies []tally) {
	var all []time.Duration
	for _, t := range tallies {
		r.Messages += t.messages
		all = append(all, t.latencies...)
	}
	slices.Sort(all)
	r.Calls = uint64(len(all))
	quantile := func(part float64) float64 {
		if len(all) == 0 {
			return 0
		}
		at := min(int(part*float64(len(all))), len(all)-1)
		return float64(all[at].Nanoseconds()) / 1e3
	}
	r.P50, r.P99, r.P999 = quantile(0.5), quantile(0.99), quantile(0.999)
}

// moment is a point in time, and the time that this process has had of the processors.
type moment struct {
	time time.Time
	cpu  float64
}

func now() moment {
	return moment{time.Now(), cpuSeconds()}
}

type options struct {
	inFlight, calls int
	warmUp, seconds float64
}

// measure makes calls from many goroutines.
func measure(call mode, o options) report {
	r := run{limited: o.calls >= 0, failed: make(chan error, o.inFlight)}
	r.callsLeft.Store(int64(o.calls))
	if r.limited {
		r.phase.Store(measured)
	}
	tallies := make([]tally, o.inFlight)
	began, ended := now(), moment{}
	var group sync.WaitGroup
	for i := range tallies {
		group.Go(func() {
			var t tally
			r.work(call, &t)
			tallies[i] = t
		})
	}
	if !r.limited {
		r.wait(o.warmUp)
		began = now()
		r.phase.Store(measured)
		r.wait(o.seconds)
		r.phase.Store(over)
		ended = now()
	}
	group.Wait()
	if r.limited {
		ended = now()
	}
	select {
	case err := <-r.failed:
		log.Fatal(err)
	default:
	}
	out := report{Elapsed: ended.time.Sub(began.time).Seconds(), CPU: ended.cpu - began.cpu}
	out.add(tallies)
	return out
}

func main() {
	addr := flag.String("addr", "", "the server's address")
	inFlight := flag.Int("in-flight", 1, "calls at a time")
	seconds := flag.Float64("seconds", 5, "for how long")
	calls := flag.Int("calls", -1, "instead of seconds")
	warmUp := flag.Float64("warm-up-seconds", 0.5, "before anything is counted")
	threads := flag.Int("threads", 1, "threads that run Go code")
	name := flag.String("mode", "unary", "unary, server-stream, bidi or large")
	messages := flag.Int("messages", 1000, "messages of a stream")
	size := flag.Int("bytes", -1, "of a payload; usually 16, in mode large 1 MiB")
	flag.Parse()
	common.UseThreads(*threads)
	conn, err := connect(*addr)
	if err != nil {
		log.Fatal(err)
	}
	call, err := choose(*name, conn, *messages, *size)
	if err != nil {
		log.Fatal(err)
	}
	o := options{inFlight: max(1, *inFlight), calls: *calls, warmUp: *warmUp, seconds: *seconds}
	if err := json.NewEncoder(os.Stdout).Encode(measure(call, o)); err != nil {
		log.Fatal(err)
	}
}
