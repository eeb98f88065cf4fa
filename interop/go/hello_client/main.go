// The hello world of gRPC: an ordinary client, with nothing done for Gannet's sake.
package main

import (
	"flag"
	"log"

	"gannet.invalid/interop/hello"
)

func main() {
	addr := flag.String("addr", "localhost:50051", "the server's address")
	text := flag.String("message", "Hello Server you there?", "what to say")
	flag.Parse()
	if err := hello.Run(*addr, *text); err != nil {
		log.Fatal(err)
	}
}
