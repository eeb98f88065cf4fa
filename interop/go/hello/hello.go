// Package hello is the hello world of gRPC, server and client, for the programs of this module.
package hello

import (
	"context"
	"fmt"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	pb "gannet.invalid/interop/gen/grpctest"
)

// Service answers the hello world.
type Service struct {
	pb.UnimplementedGrpctestServer
}

// GetServerResponse says what it heard.
func (Service) GetServerResponse(_ context.Context, in *pb.Message) (*pb.MessageResponse, error) {
	return &pb.MessageResponse{Message: reply(in.GetMessage()), Received: true}, nil
}

// Run calls the server at addr once and checks and prints its reply.
func Run(addr, text string) error {
	conn, err := grpc.NewClient(addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	out, err := pb.NewGrpctestClient(conn).GetServerResponse(ctx, &pb.Message{Message: text})
	if err != nil {
		return err
	}
	fmt.Println(out.GetMessage())
	if out.GetMessage() != reply(text) || !out.GetReceived() {
		return fmt.Errorf("unexpected reply: %v", out)
	}
	return nil
}

func reply(text string) string {
	return fmt.Sprintf("Hello I am up and running received \"%s\" message from you", text)
}
