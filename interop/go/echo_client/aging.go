package main

// The case of a server that ends connections for their age and idleness all the time.

import (
	"bytes"
	"context"
	"io"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"

	pb "gannet.invalid/interop/gen/gannetinterop"
)

// connections are those that calls came on.
type connections struct {
	mutex sync.Mutex
	seen  map[string]bool
}

func newConnections() *connections {
	return &connections{seen: map[string]bool{}}
}

func (c *connections) add(trailer metadata.MD) {
	told := trailer.Get("x-echo-address")
	check(len(told) == 1, "the server does not tell the peer: %v", trailer)
	c.mutex.Lock()
	defer c.mutex.Unlock()
	c.seen[told[0]] = true
}

func (c *connections) enough(which string) {
	check(len(c.seen) >= 5, "only %d connections, %s: none was ended", len(c.seen), which)
}

func connectionAge(c *client) {
	c.ctx = metadata.AppendToOutgoingContext(c.ctx, "x-echo-address", "tell")
	end := time.Now().Add(3 * time.Second)
	busy := newConnections()
	var workers sync.WaitGroup
	for worker := range 4 {
		workers.Go(func() {
			for time.Now().Before(end) {
				c.callOn(busy, worker)
				time.Sleep(2 * time.Millisecond)
			}
		})
	}
	for worker := range 2 {
		workers.Go(func() {
			for time.Now().Before(end) {
				c.streamOn(busy, worker)
			}
		})
	}
	workers.Wait()
	busy.enough("busy ones")

	idle := newConnections()
	for number := range 30 {
		c.callOn(idle, number)
		pause := 10 * time.Millisecond
		if number%2 == 0 {
			pause = 150 * time.Millisecond
		}
		time.Sleep(pause)
	}
	idle.enough("idle ones")
	c.outlivesTheGrace()
}

func (c *client) callOn(on *connections, seed int) {
	var trailer metadata.MD
	sent := pattern(1000, seed)
	reply, err := c.unary(&pb.EchoRequest{Payload: sent}, grpc.Trailer(&trailer))
	must(err)
	check(bytes.Equal(reply.GetPayload(), sent), "another payload came back")
	on.add(trailer)
}

func (c *client) streamOn(on *connections, seed int) {
	stream, err := c.echo.Bidi(c.ctx)
	must(err)
	for round := range 10 {
		sent := pattern(1000*round, seed)
		must(stream.Send(&pb.EchoRequest{Payload: sent, Replies: 1, DelayMs: 20}))
		reply, err := stream.Recv()
		must(err)
		check(bytes.Equal(reply.GetPayload(), sent), "another payload came back")
	}
	must(stream.CloseSend())
	_, err = stream.Recv()
	check(err == io.EOF, "%v after the last reply", err)
	on.add(stream.Trailer())
}

func (c *client) outlivesTheGrace() {
	// A deadline of its own: most of the case's has passed.
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	stream, err := c.echo.Bidi(ctx)
	must(err)
	began := time.Now()
	_, err = stream.Recv()
	fails(err, codes.Unavailable)
	took := time.Since(began)
	check(took > 2*time.Second && took < 10*time.Second, "the grace was %v", took)
	c.stillWorks()
}
