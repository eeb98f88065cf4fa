"""Health and reflection by gRPC Python's own clients, which know no proto file of the server."""

import argparse

import grpc
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)

SERVING = health_pb2.HealthCheckResponse.SERVING
SERVICE_UNKNOWN = health_pb2.HealthCheckResponse.SERVICE_UNKNOWN


def health(channel):
    stub = health_pb2_grpc.HealthStub(channel)
    ask = lambda service: health_pb2.HealthCheckRequest(service=service)
    assert stub.Check(ask("")).status == SERVING
    assert stub.Check(ask("grpctest.Grpctest")).status == SERVING
    try:
        stub.Check(ask("nothing"))
        raise AssertionError("a service that is not there was found")
    except grpc.RpcError as error:
        assert error.code() == grpc.StatusCode.NOT_FOUND, error
    for service, status in [("", SERVING), ("nothing", SERVICE_UNKNOWN)]:
        watching = stub.Watch(ask(service), timeout=10)
        assert next(watching).status == status
        watching.cancel()
    if hasattr(stub, "List"):
        statuses = stub.List(health_pb2.HealthListRequest()).statuses
        assert {name: it.status for name, it in statuses.items()} == {
            "": SERVING,
            "grpctest.Grpctest": SERVING,
        }


def reflection(channel):
    database = ProtoReflectionDescriptorDatabase(channel)
    services = set(database.get_services())
    assert services == {
        "gannet.interop.v1.Echo",
        "grpc.health.v1.Health",
        "grpc.reflection.v1.ServerReflection",
        "grpc.reflection.v1alpha.ServerReflection",
        "grpctest.Grpctest",
    }, services
    pool = DescriptorPool(database)
    method = pool.FindServiceByName("grpctest.Grpctest").FindMethodByName("GetServerResponse")
    request, reply = (GetMessageClass(it) for it in (method.input_type, method.output_type))
    call = channel.unary_unary(
        f"/{method.containing_service.full_name}/{method.name}",
        request_serializer=request.SerializeToString,
        response_deserializer=reply.FromString,
    )
    answer = call(request(message="found"), timeout=10)
    assert answer.received and '"found"' in answer.message, answer
    try:
        pool.FindMessageTypeByName("grpctest.Nothing")
        raise AssertionError("a message that is not there was found")
    except KeyError:
        pass


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--addr", required=True)
    parser.add_argument("--case", required=True, choices=["health", "reflection"])
    args = parser.parse_args()
    with grpc.insecure_channel(args.addr) as channel:
        {"health": health, "reflection": reflection}[args.case](channel)
