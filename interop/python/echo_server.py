"""The server of gannet_interop.proto and of the hello world, on grpcio's thread pool."""

import argparse
import pathlib
import threading
from concurrent import futures

import grpc
import jwt
from google.protobuf import any_pb2, duration_pb2
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

import gannet_interop_pb2 as pb
import gannet_interop_pb2_grpc as pb_grpc
import grpctest_pb2_grpc
import tokens
from hello_server import Grpctest

# More than any case has calls open at once: each open call holds a thread.
WORKERS_MAX = 128
CANCELLED_AFTER_END_S = 0.1
LIFETIMES = ["max_connection_age_ms", "max_connection_age_grace_ms", "max_connection_idle_ms"]
COMPRESSIONS = {"gzip": grpc.Compression.Gzip, "deflate": grpc.Compression.Deflate}


class CutShort(Exception):
    """The call ended under its handler."""


class Call:
    """One call's metadata and end, on top of grpcio's context."""

    def __init__(self, context, observed):
        self.context = context
        self.observed = observed
        self.ended = threading.Event()
        self.requests = 0
        self.sequence = 0
        if not context.add_callback(self.ended.set):
            self.ended.set()
        sent = context.invocation_metadata()
        initial = [(k, v) for k, v in sent if k in ("x-echo-initial", "x-echo-initial-bin")]
        trailing = [(k, v) for k, v in sent if k in ("x-echo-trailing", "x-echo-trailing-bin")]
        wanted = COMPRESSIONS.get(dict(sent).get("x-echo-compress"))
        if wanted is not None:
            context.set_compression(wanted)
        if initial:
            context.send_initial_metadata(initial)
        if "x-echo-peer" in dict(sent):
            trailing += [("x-echo-peer", name) for name in self.peer()]
        if "x-echo-address" in dict(sent):
            trailing.append(("x-echo-address", context.peer()))
        if dict(sent).get("x-echo-guard") == "jwt":
            trailing.append(("x-echo-subject", self.subject(sent)))
        context.set_trailing_metadata(trailing)

    def peer(self):
        """Who the caller is by its certificate."""
        known = self.context.auth_context()
        keys = ("x509_common_name", "x509_subject_alternative_name")
        return [name.decode() for key in keys for name in known.get(key, [])]

    def subject(self, sent):
        """Whom the caller's token is about; ends the call where it is not good."""
        values = [value for key, value in sent if key == "authorization"]
        try:
            (value,) = values
            scheme, token = value.split(" ")
            if scheme.lower() != "bearer":
                raise ValueError(scheme)
            return tokens.subject(token)
        except (ValueError, jwt.PyJWTError):
            self.context.abort(grpc.StatusCode.UNAUTHENTICATED, "the token is not accepted")

    def wait(self, delay_ms):
        if self.ended.wait(delay_ms / 1000):
            raise CutShort()

    def reply(self, request, payload):
        if request.reply_bytes:
            payload = bytes(request.reply_bytes)
        reply = pb.EchoReply(payload=payload, sequence=self.sequence, requests=self.requests)
        self.sequence += 1
        return reply

    def obey_status(self, request):
        if request.status.code != 0:
            if request.status.detailed:
                self.fail_with_details(request.status)
            codes = {code.value[0]: code for code in grpc.StatusCode}
            self.context.set_code(codes[request.status.code])
            self.context.set_details(request.status.message)
            return True
        return False


    def fail_with_details(self, asked):
        rich = status_pb2.Status(code=asked.code, message=asked.message)
        for detail in (
            error_details_pb2.ErrorInfo(
                reason="TOLD", domain="interop", metadata={"code": str(asked.code)}
            ),
            error_details_pb2.RetryInfo(
                retry_delay=duration_pb2.Duration(seconds=1, nanos=500_000_000)
            ),
        ):
            packed = any_pb2.Any()
            packed.Pack(detail)
            rich.details.append(packed)
        self.context.abort_with_status(rpc_status.to_status(rich))


class Observed:
    """How many calls ended before their handler had."""

    def __init__(self):
        self.lock = threading.Lock()
        self.cut_short = 0

    def add(self):
        with self.lock:
            self.cut_short += 1


class Echo(pb_grpc.EchoServicer):
    def __init__(self):
        self.observed = Observed()

    def Unary(self, request, context):
        call = Call(context, self.observed)
        call.requests = 1
        try:
            call.wait(request.delay_ms)
        except CutShort:
            self.observed.add()
            return pb.EchoReply()
        if call.obey_status(request):
            return pb.EchoReply()
        return call.reply(request, request.payload)

    def ClientStream(self, requests, context):
        call = Call(context, self.observed)
        payload = bytearray()
        last = pb.EchoRequest()
        try:
            for last in self.read(requests, call):
                call.wait(last.delay_ms)
                if call.obey_status(last):
                    return pb.EchoReply()
                payload += last.payload
        except CutShort:
            self.observed.add()
            return pb.EchoReply()
        return call.reply(last, bytes(payload))

    def ServerStream(self, request, context):
        call = Call(context, self.observed)
        call.requests = 1
        yield from self.guarded(call, self.answer(call, request))
        call.obey_status(request)

    def Bidi(self, requests, context):
        call = Call(context, self.observed)
        yield from self.guarded(call, self.converse(call, requests))

    def Observe(self, request, context):
        return pb.Observation(calls_cut_short=self.observed.cut_short)

    def read(self, requests, call):
        """The requests of a call; a call that ends early is cut short."""
        try:
            for request in requests:
                call.requests += 1
                yield request
        except Exception as error:  # grpcio raises a bare Exception() here
            raise CutShort() from error
        # In grpcio a cancelled call may first look like the end of its requests, and only a moment
        # later like a cancelled one.
        if call.ended.wait(CANCELLED_AFTER_END_S):
            raise CutShort()

    def answer(self, call, request):
        for _ in range(request.replies):
            call.wait(request.delay_ms)
            yield call.reply(request, request.payload)

    def converse(self, call, requests):
        for request in self.read(requests, call):
            yield from self.answer(call, request)
            if call.obey_status(request):
                return

    def guarded(self, call, replies):
        """Counts the call when it ends before `replies` do."""
        finished = False
        try:
            yield from replies
            finished = True
        except CutShort:
            return
        finally:
            # grpcio drops the generator of a call that has ended: that arrives here too.
            if not finished:
                self.observed.add()


def listen(server, args):
    if not args.tls_cert_file:
        server.add_insecure_port(args.addr)
        return
    read = lambda path: pathlib.Path(path).read_bytes()
    credentials = grpc.ssl_server_credentials(
        [(read(args.tls_key_file), read(args.tls_cert_file))],
        root_certificates=read(args.tls_client_ca_file) if args.tls_client_ca_file else None,
        require_client_auth=bool(args.tls_client_ca_file),
    )
    server.add_secure_port(args.addr, credentials)


def serve(args):
    lifetimes = [(f"grpc.{name}", getattr(args, name)) for name in LIFETIMES]
    options = [(name, value) for name, value in lifetimes if value is not None]
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=WORKERS_MAX), options=options)
    pb_grpc.add_EchoServicer_to_server(Echo(), server)
    grpctest_pb2_grpc.add_GrpctestServicer_to_server(Grpctest(), server)
    listen(server, args)
    server.start()
    print(f"listening on {args.addr}", flush=True)
    server.wait_for_termination()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--addr", required=True)
    parser.add_argument("--tls-cert-file")
    parser.add_argument("--tls-key-file")
    parser.add_argument("--tls-client-ca-file")
    for name in LIFETIMES:
        parser.add_argument(f"--{name.replace('_', '-')}", type=int)
    serve(parser.parse_args())
