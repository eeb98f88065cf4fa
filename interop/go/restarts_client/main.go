// Load on a server that is replaced again and again: callers of all kinds of calls, each one call
// after the other, until standard input ends. Every call must be answered; how many were is
// printed. grpc-go makes calls again by itself that a server has refused unseen.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials/insecure"

	pb "gannet.invalid/interop/gen/gannetinterop"
)

// channels have a connection each.
const channels = 4

func request(replies, delayMs uint32) *pb.EchoRequest {
	return &pb.EchoRequest{Payload: make([]byte, 500), Replies: replies, DelayMs: delayMs}
}

func unary(ctx context.Context, echo pb.EchoClient) error {
	reply, err := echo.Unary(ctx, request(1, 5))
	return complete(len(reply.GetPayload()), 500, err)
}

func upload(ctx context.Context, echo pb.EchoClient) error {
	stream, err := echo.ClientStream(ctx)
	for n := 0; n < 5 && err == nil; n++ {
		err = stream.Send(request(1, 0))
	}
	if err != nil && err != io.EOF { // why is told with the reply
		return err
	}
	reply, err := stream.CloseAndRecv()
	return complete(len(reply.GetPayload()), 2500, err)
}

func download(ctx context.Context, echo pb.EchoClient) error {
	stream, err := echo.ServerStream(ctx, request(20, 2))
	if err != nil {
		return err
	}
	return count(stream.Recv, 20)
}

func chat(ctx context.Context, echo pb.EchoClient) error {
	stream, err := echo.Bidi(ctx)
	for n := 0; n < 5 && err == nil; n++ {
		if err = stream.Send(request(1, 2)); err == nil {
			_, err = stream.Recv()
		}
	}
	if err != nil {
		if _, told := stream.Recv(); err == io.EOF && told != nil {
			err = told
		}
		return fmt.Errorf("in the midst: %w", err)
	}
	if err := stream.CloseSend(); err != nil {
		return err
	}
	return count(stream.Recv, 0)
}

// count reads to the end, which must come after that many replies.
func count(next func() (*pb.EchoReply, error), want int) error {
	for came := 0; ; came++ {
		if _, err := next(); errors.Is(err, io.EOF) {
			return complete(came, want, nil)
		} else if err != nil {
			return err
		}
	}
}

func complete(came, want int, err error) error {
	if err == nil && came != want {
		return fmt.Errorf("%d came, not %d", came, want)
	}
	return err
}

func main() {
	addr := flag.String("addr", "", "the server's address")
	flag.Parse()
	log.SetFlags(0)
	var stopped, failed atomic.Bool
	var answered atomic.Uint64
	var callers sync.WaitGroup
	for range channels {
		conn, err := grpc.NewClient(*addr,
			grpc.WithTransportCredentials(insecure.NewCredentials()),
			grpc.WithDefaultCallOptions(grpc.WaitForReady(true)),
			grpc.WithConnectParams(grpc.ConnectParams{
				Backoff:           backoff.Config{BaseDelay: 50 * time.Millisecond, MaxDelay: 200 * time.Millisecond},
				MinConnectTimeout: 20 * time.Second,
			}))
		if err != nil {
			log.Fatal(err)
		}
		echo := pb.NewEchoClient(conn)
		for _, kind := range []func(context.Context, pb.EchoClient) error{unary, upload, download, chat} {
			callers.Go(func() {
				for !stopped.Load() {
					ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
					err := kind(ctx, echo)
					cancel()
					if err != nil {
						log.Print(err)
						failed.Store(true)
						return
					}
					answered.Add(1)
				}
			})
		}
	}
	io.Copy(io.Discard, os.Stdin)
	stopped.Store(true)
	callers.Wait()
	fmt.Println("answered", answered.Load())
	if failed.Load() {
		os.Exit(1)
	}
}
