// The hello world of gRPC: an ordinary server, with nothing done for Gannet's sake.
package main

import (
	"flag"
	"fmt"
	"log"
	"net"

	"google.golang.org/grpc"

	pb "gannet.invalid/interop/gen/grpctest"
	"gannet.invalid/interop/hello"
)

func main() {
	addr := flag.String("addr", "[::]:50051", "where to listen")
	flag.Parse()
	listener, err := net.Listen("tcp", *addr)
	if err != nil {
		log.Fatal(err)
	}
	server := grpc.NewServer()
	pb.RegisterGrpctestServer(server, hello.Service{})
	fmt.Printf("listening on %s\n", listener.Addr())
	log.Fatal(server.Serve(listener))
}
