// The client of gannet_interop.proto: one case by name; silence and exit code 0 mean it passed.
//
// What each case does is written down in interop/README.md.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"maps"
	"slices"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	pb "gannet.invalid/interop/gen/gannetinterop"
	"gannet.invalid/interop/hello"
)

const (
	mib     = 1 << 20
	timeout = 20 * time.Second
)

type client struct {
	echo    pb.EchoClient
	missing pb.MissingClient
	// ctx carries the deadline of the whole case.
	ctx context.Context
	// addr is the server's address, for another connection.
	addr string
}

var cases = map[string]func(*client){
	"empty_unary":       emptyUnary,
	"unary":             unary,
	"large_unary":       largeUnary,
	"client_stream":     clientStream,
	"empty_stream":      emptyStream,
	"server_stream":     serverStream,
	"large_stream":      largeStream,
	"bidi":              bidi,
	"metadata":          metadataBothWays,
	"metadata_on_error": metadataOnError,
	"status_details":    statusDetails,
	"early_headers":     earlyHeaders,
	"status_codes":      statusCodes,
	"status_message":    statusMessage,
	"status_on_streams": statusOnStreams,
	"deadline":          deadline,
	"cancel":            cancel,
	"unimplemented":     unimplemented,
	"oversized":         oversized,
	"concurrent":        concurrent,
	"many_at_once":      manyAtOnce,
	"gzip":              compressed,
	"bearer":            bearer,
	"connection_age":    connectionAge,
	"unavailable":       unavailable,
}

func main() {
	addr := flag.String("addr", "", "the server's address")
	name := flag.String("case", "", "the case to run")
	flag.Parse()
	if *name == "hello" {
		must(hello.Run(*addr, "Hello Server you there?"))
		return
	}
	run, known := cases[*name]
	if !known {
		log.Fatalf("no case %q; there are: hello %s", *name,
			strings.Join(slices.Sorted(maps.Keys(cases)), " "))
	}
	conn, err := grpc.NewClient(*addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	must(err)
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	run(&client{echo: pb.NewEchoClient(conn), missing: pb.NewMissingClient(conn), ctx: ctx, addr: *addr})
	must(conn.Close())
}

// must ends the program when something failed that had to work.
func must(err error) {
	if err != nil {
		log.Output(2, "failed: "+err.Error())
		log.Fatal("case failed")
	}
}

// check ends the program when `ok` does not hold.
func check(ok bool, format string, args ...any) {
	if !ok {
		log.Output(2, fmt.Sprintf(format, args...))
		log.Fatal("case failed")
	}
}

// fails checks that an error is the given status.
func fails(err error, code codes.Code, message ...string) {
	got := status.Convert(err)
	check(err != nil && got.Code() == code, "got %v, expected %v", err, code)
	if len(message) > 0 {
		check(got.Message() == message[0], "got message %q, expected %q", got.Message(), message[0])
	}
}

func pattern(length, seed int) []byte {
	bytes := make([]byte, length)
	for i := range bytes {
		bytes[i] = byte((i*31 + seed) % 251)
	}
	return bytes
}

func (c *client) unary(in *pb.EchoRequest, options ...grpc.CallOption) (*pb.EchoReply, error) {
	return c.echo.Unary(c.ctx, in, options...)
}

// stillWorks checks that the channel serves an ordinary call.
func (c *client) stillWorks() {
	reply, err := c.unary(&pb.EchoRequest{Payload: []byte("still here")})
	must(err)
	check(string(reply.GetPayload()) == "still here", "got %v", reply)
}

func (c *client) cutShort() uint64 {
	seen, err := c.echo.Observe(c.ctx, &pb.ObserveRequest{})
	must(err)
	return seen.GetCallsCutShort()
}

// waitForCutShort waits until the server has seen `more` calls end under their handlers.
func (c *client) waitForCutShort(before, more uint64) {
	var seen uint64
	for end := time.Now().Add(5 * time.Second); time.Now().Before(end); {
		if seen = c.cutShort() - before; seen >= more {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	check(seen == more, "the server saw %d calls cut short, expected %d", seen, more)
}
