package main

// The case of calls that say who makes them.

import (
	"context"
	"io"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"

	pb "gannet.invalid/interop/gen/gannetinterop"
)

type token string

func (t token) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	return map[string]string{"authorization": "Bearer " + string(t)}, nil
}

func (token) RequireTransportSecurity() bool { return false }

func bearer(c *client) {
	c.ctx = metadata.AppendToOutgoingContext(c.ctx, "x-echo-guard", "1")
	in := &pb.EchoRequest{Payload: []byte("x")}
	_, err := c.unary(in)
	fails(err, codes.Unauthenticated, "no entry")
	_, err = c.unary(in, grpc.PerRPCCredentials(token("open-barley")))
	fails(err, codes.Unauthenticated, "no entry")
	reply, err := c.unary(in, grpc.PerRPCCredentials(token("open-sesame")))
	must(err)
	check(string(reply.Payload) == "x", "payload %q", reply.Payload)
	_, err = c.open(c.ctx).Recv()
	check(err != io.EOF, "the stream ended well")
	fails(err, codes.Unauthenticated, "no entry")

	conn, err := grpc.NewClient(c.addr, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithPerRPCCredentials(token("open-sesame")))
	must(err)
	friend := &client{echo: pb.NewEchoClient(conn), ctx: c.ctx, addr: c.addr}
	_, err = friend.unary(in)
	must(err)
	stream := friend.open(friend.ctx)
	pingPong(stream, 3, 0)
	closeAndDrain(stream)
	must(conn.Close())
}
