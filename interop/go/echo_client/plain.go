package main

// The cases in which every call succeeds.

import (
	"bytes"
	"context"
	"io"
	"sync"
	"time"

	"google.golang.org/grpc"

	pb "gannet.invalid/interop/gen/gannetinterop"
)

func emptyUnary(c *client) {
	reply, err := c.unary(&pb.EchoRequest{})
	must(err)
	expect(reply, nil, 0, 1)
}

func unary(c *client) {
	for _, length := range []int{1, 27, 1000, 16384, 65536} {
		reply, err := c.unary(&pb.EchoRequest{Payload: pattern(length, 0)})
		must(err)
		expect(reply, pattern(length, 0), 0, 1)
	}
}

func largeUnary(c *client) {
	reply, err := c.unary(&pb.EchoRequest{Payload: pattern(mib, 0)})
	must(err)
	expect(reply, pattern(mib, 0), 0, 1)
}

func clientStream(c *client) {
	stream, err := c.echo.ClientStream(c.ctx)
	must(err)
	var all []byte
	for seed, size := range []int{27182, 8, 1828, 45904} {
		payload := pattern(size, seed)
		all = append(all, payload...)
		must(stream.Send(&pb.EchoRequest{Payload: payload}))
	}
	reply, err := stream.CloseAndRecv()
	must(err)
	expect(reply, all, 0, 4)
}

func emptyStream(c *client) {
	up, err := c.echo.ClientStream(c.ctx)
	must(err)
	reply, err := up.CloseAndRecv()
	must(err)
	expect(reply, nil, 0, 0)

	both, err := c.echo.Bidi(c.ctx)
	must(err)
	must(both.CloseSend())
	_, err = both.Recv()
	check(err == io.EOF, "got %v, expected the end", err)

	down, err := c.echo.ServerStream(c.ctx, &pb.EchoRequest{})
	must(err)
	_, err = down.Recv()
	check(err == io.EOF, "got %v, expected the end", err)
}

func serverStream(c *client) {
	readStream(c, &pb.EchoRequest{Payload: pattern(1024, 0), Replies: 100}, 0)
}

func largeStream(c *client) {
	payload := pattern(65536, 0)
	readStream(c, &pb.EchoRequest{Payload: payload, Replies: 64}, 2*time.Millisecond)
	stream, err := c.echo.ClientStream(c.ctx)
	must(err)
	for range 48 {
		must(stream.Send(&pb.EchoRequest{Payload: payload}))
	}
	reply, err := stream.CloseAndRecv()
	must(err)
	expect(reply, bytes.Repeat(payload, 48), 0, 48)
}

func readStream(c *client, in *pb.EchoRequest, pause time.Duration) {
	stream, err := c.echo.ServerStream(c.ctx, in)
	must(err)
	for number := range in.GetReplies() {
		reply, err := stream.Recv()
		must(err)
		expect(reply, in.GetPayload(), number, 1)
		time.Sleep(pause)
	}
	_, err = stream.Recv()
	check(err == io.EOF, "got %v, expected the end", err)
}

func bidi(c *client) {
	stream := c.open(c.ctx)
	pingPong(stream, 50, 0)
	closeAndDrain(stream)
}

func concurrent(c *client) {
	var group sync.WaitGroup
	for worker := range 48 {
		group.Go(func() {
			for number := range 20 {
				payload := pattern(64+worker*20+number, worker)
				reply, err := c.unary(&pb.EchoRequest{Payload: payload})
				must(err)
				expect(reply, payload, 0, 1)
			}
		})
	}
	for worker := range 16 {
		group.Go(func() {
			stream := c.open(c.ctx)
			pingPong(stream, 20, worker)
			closeAndDrain(stream)
		})
	}
	group.Wait()
}

func manyAtOnce(c *client) {
	var group sync.WaitGroup
	for number := range 300 {
		group.Go(func() {
			payload := pattern(50, number)
			reply, err := c.unary(&pb.EchoRequest{Payload: payload, DelayMs: 100})
			must(err)
			expect(reply, payload, 0, 1)
		})
	}
	group.Wait()
}

func expect(reply *pb.EchoReply, payload []byte, sequence, requests uint32) {
	check(bytes.Equal(reply.GetPayload(), payload), "payload: got %d bytes, expected %d",
		len(reply.GetPayload()), len(payload))
	check(reply.GetSequence() == sequence, "sequence: got %d, expected %d",
		reply.GetSequence(), sequence)
	check(reply.GetRequests() == requests, "requests: got %d, expected %d",
		reply.GetRequests(), requests)
}

type bidiStream = grpc.BidiStreamingClient[pb.EchoRequest, pb.EchoReply]

func (c *client) open(ctx context.Context) bidiStream {
	stream, err := c.echo.Bidi(ctx)
	must(err)
	return stream
}

func pingPong(stream bidiStream, rounds, seed int) {
	for number := range rounds {
		payload := pattern(number*7, seed)
		must(stream.Send(&pb.EchoRequest{Payload: payload, Replies: 1}))
		reply, err := stream.Recv()
		must(err)
		expect(reply, payload, uint32(number), uint32(number)+1)
	}
}

func closeAndDrain(stream bidiStream) {
	must(stream.CloseSend())
	_, err := stream.Recv()
	check(err == io.EOF, "got %v, expected the end", err)
}
