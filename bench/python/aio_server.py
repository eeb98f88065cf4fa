"""The hello world and the echo service on grpcio's asyncio API.

One process and so one interpreter lock: `--threads` is accepted and changes nothing.
"""

import argparse
import asyncio
import sys

import grpc

import echo_pb2
import echo_pb2_grpc
import grpctest_pb2
import grpctest_pb2_grpc

MESSAGE_BYTES_MAX = 8 * 1024 * 1024
OPTIONS = [
    ("grpc.max_receive_message_length", MESSAGE_BYTES_MAX),
    ("grpc.max_send_message_length", MESSAGE_BYTES_MAX),
    ("grpc.so_reuseport", 0),
]


class Grpctest(grpctest_pb2_grpc.GrpctestServicer):
    async def GetServerResponse(self, request, context):
        text = f'Hello I am up and running received "{request.message}" message from you'
        return grpctest_pb2.MessageResponse(message=text, received=True)


class Echo(echo_pb2_grpc.EchoServicer):
    async def Unary(self, request, context):
        return request

    async def ServerStream(self, request, context):
        if request.bytes > MESSAGE_BYTES_MAX - 16:
            reason = "messages would be too large"
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, reason)
        payload = echo_pb2.Payload(body=b"x" * request.bytes)
        for _ in range(request.messages):
            await context.write(payload)

    async def ClientStream(self, request_iterator, context):
        messages = 0
        async for _ in request_iterator:
            messages += 1
        return echo_pb2.Count(messages=messages)

    async def BidiStream(self, request_iterator, context):
        async for payload in request_iterator:
            await context.write(payload)


async def serve(addr):
    server = grpc.aio.server(options=OPTIONS)
    grpctest_pb2_grpc.add_GrpctestServicer_to_server(Grpctest(), server)
    echo_pb2_grpc.add_EchoServicer_to_server(Echo(), server)
    port = server.add_insecure_port(addr)
    await server.start()
    print(f"listening on {addr.rpartition(':')[0]}:{port}", flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.buffer.read)
    await server.stop(None)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--addr", default="127.0.0.1:0")
    parser.add_argument("--threads", type=int, default=1)
    asyncio.run(serve(parser.parse_args().addr))
