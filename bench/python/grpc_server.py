"""The hello world and the echo service on grpcio's pool of threads, as most write it.

One process and so one interpreter lock: `--threads` is accepted and changes nothing. A call has a
thread of the pool until it ends: those beyond WORKERS at a time wait.
"""

import argparse
import sys
from concurrent import futures

import grpc

import echo_pb2
import echo_pb2_grpc
import grpctest_pb2
import grpctest_pb2_grpc

WORKERS = 10
MESSAGE_BYTES_MAX = 8 * 1024 * 1024
OPTIONS = [
    ("grpc.max_receive_message_length", MESSAGE_BYTES_MAX),
    ("grpc.max_send_message_length", MESSAGE_BYTES_MAX),
    ("grpc.so_reuseport", 0),
]


class Grpctest(grpctest_pb2_grpc.GrpctestServicer):
    def GetServerResponse(self, request, context):
        text = f'Hello I am up and running received "{request.message}" message from you'
        return grpctest_pb2.MessageResponse(message=text, received=True)


class Echo(echo_pb2_grpc.EchoServicer):
    def Unary(self, request, context):
        return request

    def ServerStream(self, request, context):
        if request.bytes > MESSAGE_BYTES_MAX - 16:
            reason = "messages would be too large"
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, reason)
        payload = echo_pb2.Payload(body=b"x" * request.bytes)
        for _ in range(request.messages):
            yield payload

    def ClientStream(self, request_iterator, context):
        messages = 0
        for _ in request_iterator:
            messages += 1
        return echo_pb2.Count(messages=messages)

    def BidiStream(self, request_iterator, context):
        for payload in request_iterator:
            yield payload


def serve(addr, tls_cert, tls_key):
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=WORKERS), options=OPTIONS)
    grpctest_pb2_grpc.add_GrpctestServicer_to_server(Grpctest(), server)
    echo_pb2_grpc.add_EchoServicer_to_server(Echo(), server)
    if tls_cert or tls_key:
        with open(tls_cert, "rb") as cert, open(tls_key, "rb") as key:
            pair = (key.read(), cert.read())
        port = server.add_secure_port(addr, grpc.ssl_server_credentials([pair]))
    else:
        port = server.add_insecure_port(addr)
    server.start()
    print(f"listening on {addr.rpartition(':')[0]}:{port}", flush=True)
    sys.stdin.buffer.read()
    server.stop(None)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--addr", default="127.0.0.1:0")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--tls-cert")
    parser.add_argument("--tls-key")
    flags = parser.parse_args()
    serve(flags.addr, flags.tls_cert, flags.tls_key)
