package main

import (
	"bytes"
	"context"
	"io"
	"strconv"
	"sync/atomic"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/encoding/gzip"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/stats"

	pb "gannet.invalid/interop/gen/gannetinterop"
)

const compressedLength = 100_000

// counter counts the compressed messages of a connection's calls.
type counter struct {
	in, out atomic.Int64
}

func (c *counter) TagRPC(ctx context.Context, _ *stats.RPCTagInfo) context.Context   { return ctx }
func (c *counter) TagConn(ctx context.Context, _ *stats.ConnTagInfo) context.Context { return ctx }
func (c *counter) HandleConn(context.Context, stats.ConnStats)                       {}

func (c *counter) HandleRPC(_ context.Context, event stats.RPCStats) {
	switch event := event.(type) {
	case *stats.InPayload:
		if event.CompressedLength < event.Length {
			c.in.Add(1)
		}
	case *stats.OutPayload:
		if event.CompressedLength < event.Length {
			c.out.Add(1)
		}
	}
}

// expect checks how many messages were compressed since the last time, and what the server tells.
func (c *counter) expect(out, in int64, trailer metadata.MD) {
	gotOut, gotIn := c.out.Swap(0), c.in.Swap(0)
	check(gotOut == out && gotIn == in, "%d requests and %d replies compressed, expected %d and %d",
		gotOut, gotIn, out, in)
	for _, told := range trailer.Get("x-echo-compressed") {
		check(told == strconv.FormatInt(out, 10), "the server saw %s compressed, expected %d", told, out)
	}
}

func compressed(c *client) {
	ctx := metadata.AppendToOutgoingContext(c.ctx, "x-echo-compress", gzip.Name)
	count := &counter{}
	plain := []grpc.DialOption{
		grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithStatsHandler(count),
	}
	conn, err := grpc.NewClient(c.addr, plain...)
	must(err)
	use := grpc.UseCompressor(gzip.Name)
	sent := pattern(compressedLength, 0)
	one := func(echo pb.EchoClient, out int64, options ...grpc.CallOption) {
		var trailer metadata.MD
		reply, err := echo.Unary(ctx, &pb.EchoRequest{Payload: sent}, append(options, grpc.Trailer(&trailer))...)
		must(err)
		check(bytes.Equal(reply.GetPayload(), sent), "another payload came back")
		count.expect(out, 1, trailer)
	}
	echo := pb.NewEchoClient(conn)
	one(echo, 1, use)
	one(echo, 0)
	compressedStreams(ctx, echo, count, use)
	must(conn.Close())

	always, err := grpc.NewClient(c.addr, append(plain, grpc.WithDefaultCallOptions(use))...)
	must(err)
	one(pb.NewEchoClient(always), 1)
	must(always.Close())
}

func compressedStreams(ctx context.Context, echo pb.EchoClient, count *counter, use grpc.CallOption) {
	lengths := []int{27182, 2000, 1828, 45904}
	upload, err := echo.ClientStream(ctx, use)
	must(err)
	var all []byte
	for seed, length := range lengths {
		all = append(all, pattern(length, seed)...)
		must(upload.Send(&pb.EchoRequest{Payload: pattern(length, seed)}))
	}
	reply, err := upload.CloseAndRecv()
	must(err)
	check(bytes.Equal(reply.GetPayload(), all), "another payload came back")
	count.expect(4, 1, upload.Trailer())

	download, err := echo.ServerStream(ctx, &pb.EchoRequest{Payload: all, Replies: 3}, use)
	must(err)
	for range 3 {
		reply, err := download.Recv()
		must(err)
		check(bytes.Equal(reply.GetPayload(), all), "another payload came back")
	}
	_, err = download.Recv()
	check(err == io.EOF, "%v after the last reply", err)
	count.expect(1, 3, download.Trailer())

	chat, err := echo.Bidi(ctx, use)
	must(err)
	for seed, length := range lengths {
		must(chat.Send(&pb.EchoRequest{Payload: pattern(length, seed), Replies: 1}))
		reply, err := chat.Recv()
		must(err)
		check(bytes.Equal(reply.GetPayload(), pattern(length, seed)), "another payload came back")
	}
	must(chat.CloseSend())
	_, err = chat.Recv()
	check(err == io.EOF, "%v after the last reply", err)
	count.expect(4, 4, chat.Trailer())
}
