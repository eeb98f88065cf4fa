"""The hello world of gRPC: an ordinary blocking server, with nothing done for Gannet's sake."""

import argparse
from concurrent import futures

import grpc

import grpctest_pb2
import grpctest_pb2_grpc


class Grpctest(grpctest_pb2_grpc.GrpctestServicer):
    def GetServerResponse(self, request, context):
        text = f'Hello I am up and running received "{request.message}" message from you'
        return grpctest_pb2.MessageResponse(message=text, received=True)


def serve(addr):
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=10))
    grpctest_pb2_grpc.add_GrpctestServicer_to_server(Grpctest(), server)
    server.add_insecure_port(addr)
    server.start()
    print(f"listening on {addr}", flush=True)
    server.wait_for_termination()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--addr", default="[::]:50051")
    serve(parser.parse_args().addr)
