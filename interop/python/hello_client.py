"""The hello world of gRPC: an ordinary blocking client, with nothing done for Gannet's sake."""

import argparse

import grpc

import grpctest_pb2
import grpctest_pb2_grpc


def run(addr, text):
    with grpc.insecure_channel(addr) as channel:
        stub = grpctest_pb2_grpc.GrpctestStub(channel)
        reply = stub.GetServerResponse(grpctest_pb2.Message(message=text))
    print(reply.message)
    expected = f'Hello I am up and running received "{text}" message from you'
    assert reply.message == expected, reply.message
    assert reply.received is True


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--addr", default="localhost:50051")
    parser.add_argument("--message", default="Hello Server you there?")
    args = parser.parse_args()
    run(args.addr, args.message)
