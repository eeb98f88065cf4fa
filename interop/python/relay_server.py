"""Stands between a client of the greeter and a replica, both Gannet's: traced by OpenTelemetry's
instrumentation of grpcio, as one would have it. Ends at SIGTERM, when all spans are sent."""

import argparse
import pathlib
import signal
import threading
from concurrent import futures

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.instrumentation.grpc import client_interceptor, server_interceptor
from opentelemetry.instrumentation.grpc.grpcext import intercept_channel
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

import greeter_pb2_grpc


class Relay(greeter_pb2_grpc.GreeterServicer):
    def __init__(self, replica):
        self._replica = replica

    def Greet(self, request, context):
        sent = context.invocation_metadata()
        token = [(key, value) for key, value in sent if key == "authorization"]
        try:
            return self._replica.Greet(request, metadata=token, timeout=5)
        except grpc.RpcError as error:
            context.abort(error.code(), error.details())


def traces(collector):
    provider = TracerProvider(resource=Resource.create({"service.name": "relay"}))
    exporter = OTLPSpanExporter(endpoint=collector, insecure=True)
    provider.add_span_processor(BatchSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    return provider


def replica(target, keys):
    tls = grpc.ssl_channel_credentials((keys / "authority.pem").read_bytes())
    channel = grpc.secure_channel(target, tls, [("grpc.ssl_target_name_override", "greeter")])
    return greeter_pb2_grpc.GreeterStub(intercept_channel(channel, client_interceptor()))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--addr", required=True)
    parser.add_argument("--target", required=True)
    parser.add_argument("--keys", type=pathlib.Path, required=True)
    parser.add_argument("--traces", required=True)
    args = parser.parse_args()
    provider = traces(args.traces)
    ended = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: ended.set())
    server = grpc.server(
        futures.ThreadPoolExecutor(max_workers=16), interceptors=[server_interceptor()]
    )
    greeter_pb2_grpc.add_GreeterServicer_to_server(Relay(replica(args.target, args.keys)), server)
    statuses = health.HealthServicer()
    statuses.set("greeter.Greeter", health_pb2.HealthCheckResponse.SERVING)
    health_pb2_grpc.add_HealthServicer_to_server(statuses, server)
    own = [(args.keys / name).read_bytes() for name in ("server.key", "server.pem")]
    server.add_secure_port(args.addr, grpc.ssl_server_credentials([tuple(own)]))
    server.start()
    print(f"listening on {args.addr}", flush=True)
    ended.wait()
    server.stop(grace=1).wait()
    provider.shutdown()


if __name__ == "__main__":
    main()
