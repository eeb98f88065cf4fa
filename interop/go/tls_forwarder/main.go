// Forwards plaintext connections to a server's TLS port with ALPN h2: for suites that know no TLS.
package main

import (
	"crypto/tls"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
)

func main() {
	addr := flag.String("addr", "", "where to listen")
	to := flag.String("to", "", "the TLS server's address")
	flag.Parse()
	listener, err := net.Listen("tcp", *addr)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("listening on %s\n", listener.Addr())
	for {
		plain, err := listener.Accept()
		if err != nil {
			log.Fatal(err)
		}
		go forward(plain.(*net.TCPConn), *to)
	}
}

func forward(plain *net.TCPConn, to string) {
	defer plain.Close()
	// Whose certificate it is does not matter here: the suite is about HTTP/2.
	config := &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}}
	secure, err := tls.Dial("tcp", to, config)
	if err != nil {
		log.Printf("%s: %v", to, err)
		return
	}
	defer secure.Close()
	if chosen := secure.ConnectionState().NegotiatedProtocol; chosen != "h2" {
		log.Printf("%s chose the protocol %q", to, chosen)
		return
	}
	go func() {
		io.Copy(secure, plain)
		secure.CloseWrite()
	}()
	io.Copy(plain, secure)
	plain.CloseWrite()
}
