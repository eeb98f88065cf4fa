// The server of gannet_interop.proto and of the hello world, on grpc-go.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	_ "google.golang.org/grpc/encoding/gzip" // registers itself
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	pb "gannet.invalid/interop/gen/gannetinterop"
	grpctest "gannet.invalid/interop/gen/grpctest"
	"gannet.invalid/interop/hello"
)

type echo struct {
	// The embedded type answers Unimplemented, and nothing else here.
	pb.UnimplementedEchoServer
	cutShort atomic.Uint64
}

// call is what one call has seen so far.
type call struct {
	ctx      context.Context
	requests uint32
	sequence uint32
}

// start echoes the metadata of a call.
func start(ctx context.Context, setTrailer func(metadata.MD), sendHeader func(metadata.MD) error) (*call, error) {
	sent, _ := metadata.FromIncomingContext(ctx)
	trailer := pick(sent, "x-echo-trailing")
	if caller, known := peer.FromContext(ctx); known && len(sent.Get("x-echo-address")) > 0 {
		trailer.Set("x-echo-address", caller.Addr.String())
	}
	setTrailer(trailer)
	if wanted := sent.Get("x-echo-compress"); len(wanted) > 0 {
		if err := grpc.SetSendCompressor(ctx, wanted[0]); err != nil {
			return nil, err
		}
	}
	if initial := pick(sent, "x-echo-initial"); len(initial) > 0 {
		if err := sendHeader(initial); err != nil {
			return nil, err
		}
	}
	return &call{ctx: ctx}, nil
}

func startStream(stream grpc.ServerStream) (*call, error) {
	return start(stream.Context(), stream.SetTrailer, stream.SendHeader)
}

func pick(sent metadata.MD, key string) metadata.MD {
	picked := metadata.MD{}
	for _, name := range []string{key, key + "-bin"} {
		if values := sent.Get(name); len(values) > 0 {
			picked[name] = values
		}
	}
	return picked
}

// wait fails when the call ends before the delay does.
func (c *call) wait(delayMs uint32) error {
	select {
	case <-c.ctx.Done():
		return status.FromContextError(c.ctx.Err()).Err()
	case <-time.After(time.Duration(delayMs) * time.Millisecond):
		return c.ctx.Err()
	}
}

func (c *call) reply(in *pb.EchoRequest, payload []byte) *pb.EchoReply {
	if in.GetReplyBytes() != 0 {
		payload = make([]byte, in.GetReplyBytes())
	}
	reply := &pb.EchoReply{Payload: payload, Sequence: c.sequence, Requests: c.requests}
	c.sequence++
	return reply
}

func (c *call) answer(in *pb.EchoRequest, send func(*pb.EchoReply) error) error {
	for range in.GetReplies() {
		if err := c.wait(in.GetDelayMs()); err != nil {
			return err
		}
		if err := send(c.reply(in, in.GetPayload())); err != nil {
			return err
		}
	}
	return nil
}

// asked is the status that a request asks for: nil where that is OK.
func asked(in *pb.EchoRequest) error {
	wanted := in.GetStatus()
	if wanted.GetCode() == 0 || !wanted.GetDetailed() {
		return status.Error(codes.Code(wanted.GetCode()), wanted.GetMessage())
	}
	detailed, err := status.New(codes.Code(wanted.GetCode()), wanted.GetMessage()).WithDetails(
		&errdetails.ErrorInfo{
			Reason:   "TOLD",
			Domain:   "interop",
			Metadata: map[string]string{"code": strconv.Itoa(int(wanted.GetCode()))},
		},
		&errdetails.RetryInfo{RetryDelay: durationpb.New(1500 * time.Millisecond)},
	)
	if err != nil {
		return err
	}
	return detailed.Err()
}

// observe counts a call that ended under its handler; `finished` says whether the handler had.
func (e *echo) observe(finished *bool) {
	if !*finished {
		e.cutShort.Add(1)
	}
}

func (e *echo) Unary(ctx context.Context, in *pb.EchoRequest) (*pb.EchoReply, error) {
	finished := false
	defer e.observe(&finished)
	setTrailer := func(md metadata.MD) { _ = grpc.SetTrailer(ctx, md) }
	c, err := start(ctx, setTrailer, func(md metadata.MD) error { return grpc.SendHeader(ctx, md) })
	if err != nil {
		return nil, err
	}
	c.requests = 1
	if err := c.wait(in.GetDelayMs()); err != nil {
		return nil, err
	}
	finished = true
	if err := asked(in); err != nil {
		return nil, err
	}
	return c.reply(in, in.GetPayload()), nil
}

func (e *echo) ClientStream(stream grpc.ClientStreamingServer[pb.EchoRequest, pb.EchoReply]) error {
	finished := false
	defer e.observe(&finished)
	c, err := startStream(stream)
	if err != nil {
		return err
	}
	last, payload := &pb.EchoRequest{}, []byte{}
	for {
		in, err := stream.Recv()
		if err == io.EOF {
			finished = true
			return stream.SendAndClose(c.reply(last, payload))
		}
		if err != nil {
			return err
		}
		last, c.requests = in, c.requests+1
		if err := c.wait(in.GetDelayMs()); err != nil {
			return err
		}
		if err := asked(in); err != nil {
			finished = true
			return err
		}
		payload = append(payload, in.GetPayload()...)
	}
}

func (e *echo) ServerStream(in *pb.EchoRequest, stream grpc.ServerStreamingServer[pb.EchoReply]) error {
	finished := false
	defer e.observe(&finished)
	c, err := startStream(stream)
	if err != nil {
		return err
	}
	c.requests = 1
	if err := c.answer(in, stream.Send); err != nil {
		return err
	}
	finished = true
	return asked(in)
}

func (e *echo) Bidi(stream grpc.BidiStreamingServer[pb.EchoRequest, pb.EchoReply]) error {
	finished := false
	defer e.observe(&finished)
	c, err := startStream(stream)
	if err != nil {
		return err
	}
	for {
		in, err := stream.Recv()
		if err == io.EOF {
			finished = true
			return nil
		}
		if err != nil {
			return err
		}
		c.requests++
		if err := c.answer(in, stream.Send); err != nil {
			return err
		}
		if err := asked(in); err != nil {
			finished = true
			return err
		}
	}
}

func (e *echo) Observe(context.Context, *pb.ObserveRequest) (*pb.Observation, error) {
	return &pb.Observation{CallsCutShort: e.cutShort.Load()}, nil
}

// guard lets calls in that ask for it only with the token.
func guard(ctx context.Context) error {
	sent, _ := metadata.FromIncomingContext(ctx)
	if len(sent.Get("x-echo-guard")) == 0 || slices.Equal(sent.Get("authorization"), []string{"Bearer open-sesame"}) {
		return nil
	}
	return status.Error(codes.Unauthenticated, "no entry")
}

func guardUnary(ctx context.Context, in any, _ *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	if err := guard(ctx); err != nil {
		return nil, err
	}
	return handler(ctx, in)
}

func guardStream(service any, stream grpc.ServerStream, _ *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
	if err := guard(stream.Context()); err != nil {
		return err
	}
	return handler(service, stream)
}

func main() {
	addr := flag.String("addr", "", "where to listen")
	age := flag.Int("max-connection-age-ms", 0, "how long a connection is used; 0: as long as it lasts")
	grace := flag.Int("max-connection-age-grace-ms", 0, "how long its calls may go on then; 0: as long as they take")
	idle := flag.Int("max-connection-idle-ms", 0, "how long a connection may be without calls; 0: as long as it lasts")
	flag.Parse()
	listener, err := net.Listen("tcp", *addr)
	if err != nil {
		log.Fatal(err)
	}
	lifetimes := grpc.KeepaliveParams(keepalive.ServerParameters{
		MaxConnectionAge:      time.Duration(*age) * time.Millisecond,
		MaxConnectionAgeGrace: time.Duration(*grace) * time.Millisecond,
		MaxConnectionIdle:     time.Duration(*idle) * time.Millisecond,
	})
	server := grpc.NewServer(lifetimes, grpc.UnaryInterceptor(guardUnary), grpc.StreamInterceptor(guardStream))
	pb.RegisterEchoServer(server, &echo{})
	grpctest.RegisterGrpctestServer(server, hello.Service{})
	fmt.Printf("listening on %s\n", listener.Addr())
	log.Fatal(server.Serve(listener))
}
