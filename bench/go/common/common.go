// Package common is what the server and the client of the benchmark share.
package common

import (
	"runtime"
)

// MessageBytesMax is the limit of both sides, both ways.
const MessageBytesMax = 8 << 20

// Fill is the byte that payloads consist of.
const Fill = 'x'

// UseThreads lets so many threads run Go code; 0 means one, too.
func UseThreads(threads int) {
	runtime.GOMAXPROCS(max(1, threads))
}

// Greeting is the reply of the hello world.
func Greeting(message string) string {
	return `Hello I am up and running received "` + message + `" message from you`
}
