"""A receiver of OTLP over gRPC with OpenTelemetry's own messages: prints each span on a line.

A line is `span` and then, with tabs between: service, instance, trace, span, parent, kind, name,
status, attributes, events, scope, flags. Attributes are `key=value` with `;` between them, events
their name and the same with `|` between.
"""

import argparse
from concurrent import futures

import grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as pb
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2_grpc as pb_grpc
from opentelemetry.proto.trace.v1 import trace_pb2


def told(value):
    which = value.WhichOneof("value")
    if which == "array_value":
        return "[" + ",".join(told(one) for one in value.array_value.values) + "]"
    if which == "bool_value":
        return str(value.bool_value).lower()
    return "" if which is None else str(getattr(value, which))


def attributes(given):
    return ";".join(f"{one.key}={told(one.value)}" for one in given)


def event(given):
    return f"{given.name} {attributes(given.attributes)}".strip()


def status(given):
    code = trace_pb2.Status.StatusCode.Name(given.code).removeprefix("STATUS_CODE_")
    return f"{code} {given.message}".strip()


def lines(spans):
    resource = {one.key: told(one.value) for one in spans.resource.attributes}
    process = [resource.get("service.name", ""), resource.get("service.instance.id", "")]
    for scope in spans.scope_spans:
        for span in scope.spans:
            assert 0 < span.start_time_unix_nano <= span.end_time_unix_nano, span
            kind = trace_pb2.Span.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_")
            ids = [one.hex() for one in (span.trace_id, span.span_id, span.parent_span_id)]
            held = [attributes(span.attributes), "|".join(event(one) for one in span.events)]
            fields = process + ids + [kind, span.name, status(span.status)] + held
            fields += [scope.scope.name, f"{span.flags:#x}"]
            yield "\t".join(["span"] + [" ".join(field.split()) for field in fields])


class Receiver(pb_grpc.TraceServiceServicer):
    def Export(self, request, context):
        for spans in request.resource_spans:
            # In one piece: calls come in several threads.
            print("".join(line + "\n" for line in lines(spans)), end="", flush=True)
        return pb.ExportTraceServiceResponse()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--addr", required=True)
    addr = parser.parse_args().addr
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=4))
    pb_grpc.add_TraceServiceServicer_to_server(Receiver(), server)
    server.add_insecure_port(addr)
    server.start()
    print(f"listening on {addr}", flush=True)
    server.wait_for_termination()


if __name__ == "__main__":
    main()
