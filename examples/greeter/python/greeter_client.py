"""Calls the replicas of the greeter from Python: TLS, a token, round robin over their addresses.

Needs grpcio and the modules that grpc_tools.protoc makes of proto/greeter.proto.
"""

import argparse
import collections
import json
import pathlib

import grpc

import greeter_pb2
import greeter_pb2_grpc


class Token(grpc.AuthMetadataPlugin):
    """The token in a file, which somebody else keeps fresh."""

    def __init__(self, path):
        self._path = path

    def __call__(self, context, callback):
        callback((("authorization", "Bearer " + self._path.read_text().strip()),), None)


def channel(target, keys, token):
    tls = grpc.ssl_channel_credentials((keys / "authority.pem").read_bytes())
    credentials = grpc.composite_channel_credentials(
        tls, grpc.metadata_call_credentials(Token(keys / token))
    )
    config = {"loadBalancingConfig": [{"round_robin": {}}]}
    options = [
        ("grpc.ssl_target_name_override", "greeter"),
        ("grpc.service_config", json.dumps(config)),
    ]
    return grpc.secure_channel(target, credentials, options)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--target", default="ipv4:127.0.0.1:50051,127.0.0.1:50052,127.0.0.1:50053")
    parser.add_argument("--keys", type=pathlib.Path, default=pathlib.Path("keys"))
    parser.add_argument("--token", default="ada.token")
    parser.add_argument("--count", type=int, default=6)
    parser.add_argument("--each", action="store_true", help="tell of each call who answers it")
    args = parser.parse_args()
    tally = collections.Counter()
    with channel(args.target, args.keys, args.token) as open_channel:
        stub = greeter_pb2_grpc.GreeterStub(open_channel)
        for _ in range(args.count):
            request = greeter_pb2.GreetRequest(name="Python")
            greeting = stub.Greet(request, timeout=5, wait_for_ready=True)
            tally[greeting.replica] += 1
            if args.each:
                print(f"answered by {greeting.replica}")
        requests = (greeter_pb2.GreetRequest(name=name) for name in ("Ada", "Ben"))
        for greeting in stub.GreetAll(requests, timeout=5, wait_for_ready=True):
            print(greeting.text)
    for replica, calls in sorted(tally.items()):
        print(f"{calls:>6}  {replica}")


if __name__ == "__main__":
    main()
