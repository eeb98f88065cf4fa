// The hello world and the echo service on grpc-go.
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"os"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"

	"gannet.invalid/bench/common"
	"gannet.invalid/bench/gen/echo"
	"gannet.invalid/bench/gen/grpctest"
)

type helloService struct {
	grpctest.UnimplementedGrpctestServer
}

func (helloService) GetServerResponse(
	_ context.Context, in *grpctest.Message,
) (*grpctest.MessageResponse, error) {
	reply := common.Greeting(in.GetMessage())
	return &grpctest.MessageResponse{Message: reply, Received: true}, nil
}

type echoService struct {
	echo.UnimplementedEchoServer
}

func (echoService) Unary(_ context.Context, in *echo.Payload) (*echo.Payload, error) {
	return in, nil
}

func (echoService) ServerStream(
	in *echo.Want, stream grpc.ServerStreamingServer[echo.Payload],
) error {
	if in.GetBytes() > common.MessageBytesMax-16 {
		return status.Error(codes.InvalidArgument, "messages would be too large")
	}
	payload := &echo.Payload{Body: bytes.Repeat([]byte{common.Fill}, int(in.GetBytes()))}
	for range in.GetMessages() {
		if err := stream.Send(payload); err != nil {
			return err
		}
	}
	return nil
}

func (echoService) ClientStream(stream grpc.ClientStreamingServer[echo.Payload, echo.Count]) error {
	count := &echo.Count{}
	for {
		_, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return stream.SendAndClose(count)
		}
		if err != nil {
			return err
		}
		count.Messages++
	}
}

func (echoService) BidiStream(stream grpc.BidiStreamingServer[echo.Payload, echo.Payload]) error {
	for {
		payload, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := stream.Send(payload); err != nil {
			return err
		}
	}
}

func main() {
	addr := flag.String("addr", "127.0.0.1:0", "where to listen")
	threads := flag.Int("threads", 1, "threads that run Go code")
	tlsCert := flag.String("tls-cert", "", "with TLS, the certificate in PEM")
	tlsKey := flag.String("tls-key", "", "and its key")
	flag.Parse()
	common.UseThreads(*threads)
	listener, err := net.Listen("tcp", *addr)
	if err != nil {
		log.Fatal(err)
	}
	options := []grpc.ServerOption{
		grpc.MaxRecvMsgSize(common.MessageBytesMax),
		grpc.MaxSendMsgSize(common.MessageBytesMax),
	}
	if *tlsCert != "" || *tlsKey != "" {
		tls, err := credentials.NewServerTLSFromFile(*tlsCert, *tlsKey)
		if err != nil {
			log.Fatal(err)
		}
		options = append(options, grpc.Creds(tls))
	}
	server := grpc.NewServer(options...)
	grpctest.RegisterGrpctestServer(server, helloService{})
	echo.RegisterEchoServer(server, echoService{})
	fmt.Printf("listening on %s\n", listener.Addr())
	go func() {
		// However it ends, nobody is there any more.
		_, _ = io.Copy(io.Discard, os.Stdin)
		server.Stop()
	}()
	if err := server.Serve(listener); err != nil {
		log.Fatal(err)
	}
}
