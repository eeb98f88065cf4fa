package main

// The cases about metadata, statuses, deadlines, cancellation and limits.

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	pb "gannet.invalid/interop/gen/gannetinterop"
)

func sentMetadata() metadata.MD {
	var every strings.Builder
	for value := range 256 {
		every.WriteByte(byte(value))
	}
	return metadata.MD{
		"x-echo-initial":      {"first value", "second: a=b; c, d", strings.Repeat("x", 4000)},
		"x-echo-initial-bin":  {"\xab\xab\xab", every.String()},
		"x-echo-trailing":     {"trailing value"},
		"x-echo-trailing-bin": {"\x01", "\x01\x02", "\x00\xff\x00\xff"},
	}
}

func checkMetadata(headers, trailers metadata.MD) {
	for key, values := range sentMetadata() {
		from, other := headers, trailers
		if strings.HasPrefix(key, "x-echo-trailing") {
			from, other = trailers, headers
		}
		check(slices.Equal(from.Get(key), values), "%s: got %q", key, from.Get(key))
		check(len(other.Get(key)) == 0, "%s on the wrong side", key)
	}
}

func metadataBothWays(c *client) {
	ctx := metadata.NewOutgoingContext(c.ctx, sentMetadata())
	var headers, trailers metadata.MD
	in := &pb.EchoRequest{Payload: []byte("x")}
	_, err := c.echo.Unary(ctx, in, grpc.Header(&headers), grpc.Trailer(&trailers))
	must(err)
	checkMetadata(headers, trailers)

	stream := c.open(ctx)
	pingPong(stream, 3, 0)
	closeAndDrain(stream)
	headers, err = stream.Header()
	must(err)
	checkMetadata(headers, stream.Trailer())
}

func metadataOnError(c *client) {
	ctx := metadata.NewOutgoingContext(c.ctx, sentMetadata())
	var headers, trailers metadata.MD
	in := &pb.EchoRequest{Status: &pb.EchoStatus{Code: 9, Message: "no"}}
	_, err := c.echo.Unary(ctx, in, grpc.Header(&headers), grpc.Trailer(&trailers))
	fails(err, codes.FailedPrecondition, "no")
	checkMetadata(headers, trailers)
}

func earlyHeaders(c *client) {
	stream := c.open(metadata.NewOutgoingContext(c.ctx, sentMetadata()))
	headers, err := stream.Header()
	must(err)
	closeAndDrain(stream)
	checkMetadata(headers, stream.Trailer())
}

func statusCodes(c *client) {
	for code := codes.Canceled; code <= codes.Unauthenticated; code++ {
		message := fmt.Sprintf("status %d", code)
		_, err := c.unary(&pb.EchoRequest{Status: &pb.EchoStatus{Code: int32(code), Message: message}})
		fails(err, code, message)
	}
}

func statusMessage(c *client) {
	special := "\t\ntest with whitespace\r\nand Unicode BMP \u263a and non-BMP \U0001f608\t\n"
	texts := []string{special, "", "100 % of %41 and %zz", strings.Repeat("é", 300), "plain"}
	for _, text := range texts {
		_, err := c.unary(&pb.EchoRequest{Status: &pb.EchoStatus{Code: 2, Message: text}})
		fails(err, codes.Unknown, text)
	}
}

func statusDetails(c *client) {
	for code := codes.Canceled; code <= codes.Unauthenticated; code++ {
		message := fmt.Sprintf("detailed \u263a %d", code)
		wanted := &pb.EchoStatus{Code: int32(code), Message: message, Detailed: true}
		_, err := c.unary(&pb.EchoRequest{Status: wanted})
		fails(err, code, message)
		details := status.Convert(err).Details()
		check(len(details) == 2, "%d details", len(details))
		info, ok := details[0].(*errdetails.ErrorInfo)
		check(ok && info.GetReason() == "TOLD" && info.GetDomain() == "interop", "got %v", info)
		check(info.GetMetadata()["code"] == fmt.Sprint(int(code)), "got %v", info)
		retry, ok := details[1].(*errdetails.RetryInfo)
		check(ok && retry.GetRetryDelay().AsDuration() == 1500*time.Millisecond, "got %v", retry)
	}
	_, err := c.unary(&pb.EchoRequest{Status: &pb.EchoStatus{Code: 5, Message: "plain"}})
	fails(err, codes.NotFound, "plain")
	check(len(status.Convert(err).Details()) == 0, "details of a plain status")
}

func statusOnStreams(c *client) {
	enough := &pb.EchoStatus{Code: 9, Message: "enough"}
	up, err := c.echo.ClientStream(c.ctx)
	must(err)
	must(up.Send(&pb.EchoRequest{Payload: []byte("a")}))
	must(up.Send(&pb.EchoRequest{Status: enough}))
	_, err = up.CloseAndRecv()
	fails(err, codes.FailedPrecondition, "enough")

	in := &pb.EchoRequest{Payload: []byte("a"), Replies: 2, Status: enough}
	down, err := c.echo.ServerStream(c.ctx, in)
	must(err)
	for number := range uint32(2) {
		reply, err := down.Recv()
		must(err)
		expect(reply, []byte("a"), number, 1)
	}
	_, err = down.Recv()
	fails(err, codes.FailedPrecondition, "enough")

	both := c.open(c.ctx)
	pingPong(both, 2, 0)
	must(both.Send(&pb.EchoRequest{Payload: []byte("last"), Replies: 1, Status: enough}))
	reply, err := both.Recv()
	must(err)
	expect(reply, []byte("last"), 2, 3)
	_, err = both.Recv()
	fails(err, codes.FailedPrecondition, "enough")
	c.stillWorks()
}

func deadline(c *client) {
	before := c.cutShort()
	started := time.Now()
	ctx, stop := context.WithTimeout(c.ctx, 300*time.Millisecond)
	defer stop()
	_, err := c.echo.Unary(ctx, &pb.EchoRequest{DelayMs: 10_000})
	fails(err, codes.DeadlineExceeded)
	took := time.Since(started)
	check(took > 250*time.Millisecond && took < 3*time.Second, "took %v", took)

	ctx, stop = context.WithTimeout(c.ctx, 500*time.Millisecond)
	defer stop()
	stream, err := c.echo.ServerStream(ctx, &pb.EchoRequest{DelayMs: 50, Replies: 1000})
	must(err)
	reply, err := stream.Recv()
	must(err)
	expect(reply, nil, 0, 1)
	fails(drain(stream), codes.DeadlineExceeded)
	c.waitForCutShort(before, 2)
	c.stillWorks()
}

func cancel(c *client) {
	before := c.cutShort()
	ctx, stop := context.WithCancel(c.ctx)
	stream := c.open(ctx)
	pingPong(stream, 2, 0)
	stop()
	_, err := stream.Recv()
	fails(err, codes.Canceled)

	ctx, stop = context.WithCancel(c.ctx)
	in := &pb.EchoRequest{Payload: []byte("a"), Replies: 100_000, DelayMs: 5}
	down, err := c.echo.ServerStream(ctx, in)
	must(err)
	for number := range uint32(2) {
		reply, err := down.Recv()
		must(err)
		expect(reply, []byte("a"), number, 1)
	}
	stop()
	fails(drain(down), codes.Canceled)

	ctx, stop = context.WithCancel(c.ctx)
	time.AfterFunc(200*time.Millisecond, stop)
	_, err = c.echo.Unary(ctx, &pb.EchoRequest{DelayMs: 10_000})
	fails(err, codes.Canceled)
	c.waitForCutShort(before, 3)
	c.stillWorks()
}

// drain reads to the end and returns the error there.
func drain(stream grpc.ServerStreamingClient[pb.EchoReply]) error {
	for {
		if _, err := stream.Recv(); err != nil {
			check(err != io.EOF, "ended well, expected an error")
			return err
		}
	}
}

func unimplemented(c *client) {
	_, err := c.echo.Unimplemented(c.ctx, &pb.EchoRequest{Payload: []byte("a")})
	fails(err, codes.Unimplemented)
	_, err = c.missing.Call(c.ctx, &pb.EchoRequest{Payload: []byte("a")})
	fails(err, codes.Unimplemented)
	c.stillWorks()
}

func oversized(c *client) {
	_, err := c.unary(&pb.EchoRequest{Payload: make([]byte, 5*mib)})
	fails(err, codes.ResourceExhausted)
	_, err = c.unary(&pb.EchoRequest{ReplyBytes: 5 * mib})
	fails(err, codes.ResourceExhausted)
	c.stillWorks()
}

// unavailable has no connection: why goes to standard output.
func unavailable(c *client) {
	_, err := c.unary(&pb.EchoRequest{})
	fails(err, codes.Unavailable)
	fmt.Println(status.Convert(err).Message())
}
