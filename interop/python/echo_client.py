"""The client of gannet_interop.proto: one case by name; silence and exit code 0 mean it passed.

What each case does is written down in interop/README.md.
"""

import argparse
import pathlib
import threading
import time
from concurrent import futures

import grpc
from google.rpc import error_details_pb2
from grpc_status import rpc_status

import gannet_interop_pb2 as pb
import gannet_interop_pb2_grpc as pb_grpc
import hello_client
import tokens

MIB = 1 << 20
TIMEOUT_S = 20
# In the certificate of the harness's clients: the subject's name, and the alternative ones.
PEER_NAMES = ["client", "client.example", "spiffe://client.example/interop"]
SPECIAL = "\t\ntest with whitespace\r\nand Unicode BMP \u263a and non-BMP \U0001f608\t\n"


class Connector:
    """Makes channels to the server, over TLS where the flags say so."""

    def __init__(self, args):
        self.addr = args.addr
        self.options = []
        self.credentials = None
        if args.tls_server_name:
            self.options.append(("grpc.ssl_target_name_override", args.tls_server_name))
        if args.tls:
            read = lambda path: pathlib.Path(path).read_bytes() if path else None
            self.credentials = grpc.ssl_channel_credentials(
                read(args.tls_ca_file), read(args.tls_key_file), read(args.tls_cert_file)
            )

    def channel(self, options=(), **more):
        options = [*self.options, *options]
        if self.credentials is None:
            return grpc.insecure_channel(self.addr, options=options, **more)
        return grpc.secure_channel(self.addr, self.credentials, options=options, **more)


class Client:
    def __init__(self, channel, connector):
        self.connector = connector
        self.echo = pb_grpc.EchoStub(channel)
        self.missing = pb_grpc.MissingStub(channel)


def check(actual, expected, what):
    if actual != expected:
        raise AssertionError(f"{what}: got {actual!r:.300}, expected {expected!r:.300}")


def pattern(length, seed=0):
    return bytes((i * 31 + seed) % 251 for i in range(length))


def fails(call, code, message=None):
    """Runs `call`, which must fail with this status; returns the error."""
    try:
        call()
    except grpc.RpcError as error:
        check(error.code(), code, "status code")
        if message is not None:
            check(error.details(), message, "status message")
        return error
    raise AssertionError(f"succeeded, expected {code}")


def unary(client, payload=b"still here", **fields):
    return client.echo.Unary(pb.EchoRequest(payload=payload, **fields), timeout=TIMEOUT_S)


class Bidi:
    """A Bidi call whose requests are sent one by one."""

    DONE = object()

    def __init__(self, client, metadata=None, compression=None):
        self.ready = threading.Semaphore(0)
        self.queue = []
        self.call = client.echo.Bidi(
            self.requests(), timeout=TIMEOUT_S, metadata=metadata, compression=compression
        )

    def requests(self):
        while True:
            self.ready.acquire()
            item = self.queue.pop(0)
            if item is self.DONE:
                return
            yield item

    def send(self, payload, **fields):
        self.put(pb.EchoRequest(payload=payload, **{"replies": 1, **fields}))

    def put(self, item):
        self.queue.append(item)
        self.ready.release()

    def finish(self):
        self.put(self.DONE)

    def ping_pong(self, rounds, seed=0):
        for number in range(rounds):
            payload = pattern(number * 7, seed)
            self.send(payload)
            reply = next(self.call)
            check(reply.payload, payload, f"reply {number}")
            check(reply.sequence, number, "sequence")
            check(reply.requests, number + 1, "requests")


def wait_for_cut_short(client, before, more):
    """Waits until the server has seen `more` calls end under their handlers."""
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        seen = client.echo.Observe(pb.ObserveRequest(), timeout=TIMEOUT_S).calls_cut_short
        if seen >= before + more:
            check(seen, before + more, "calls cut short")
            return
        time.sleep(0.02)
    raise AssertionError(f"the server saw {seen - before} calls cut short, expected {more}")


def cut_short(client):
    return client.echo.Observe(pb.ObserveRequest(), timeout=TIMEOUT_S).calls_cut_short


def empty_unary(client):
    reply = unary(client, b"")
    check(reply, pb.EchoReply(requests=1), "reply")


def case_unary(client):
    for length in (1, 27, 1000, 16384, 65536):
        reply = unary(client, pattern(length))
        check(reply, pb.EchoReply(payload=pattern(length), requests=1), "reply")


def large_unary(client):
    check(unary(client, pattern(MIB)).payload, pattern(MIB), "payload")


def client_stream(client):
    sizes = (27182, 8, 1828, 45904)
    payloads = [pattern(size, seed) for seed, size in enumerate(sizes)]
    requests = iter([pb.EchoRequest(payload=payload) for payload in payloads])
    reply = client.echo.ClientStream(requests, timeout=TIMEOUT_S)
    check(reply, pb.EchoReply(payload=b"".join(payloads), requests=4), "reply")


def empty_stream(client):
    reply = client.echo.ClientStream(iter([]), timeout=TIMEOUT_S)
    check(reply, pb.EchoReply(), "reply")
    check(list(client.echo.Bidi(iter([]), timeout=TIMEOUT_S)), [], "bidi replies")
    none = client.echo.ServerStream(pb.EchoRequest(replies=0), timeout=TIMEOUT_S)
    check(list(none), [], "server stream replies")


def server_stream(client):
    request = pb.EchoRequest(payload=pattern(1024), replies=100)
    replies = list(client.echo.ServerStream(request, timeout=TIMEOUT_S))
    check([reply.sequence for reply in replies], list(range(100)), "sequence")
    check({reply.payload for reply in replies}, {pattern(1024)}, "payloads")


def large_stream(client):
    payload = pattern(65536)
    request = pb.EchoRequest(payload=payload, replies=64)
    count = 0
    for reply in client.echo.ServerStream(request, timeout=TIMEOUT_S):
        check((reply.sequence, reply.payload), (count, payload), "reply")
        count += 1
        time.sleep(0.002)
    check(count, 64, "replies")
    requests = iter([pb.EchoRequest(payload=payload)] * 48)
    reply = client.echo.ClientStream(requests, timeout=TIMEOUT_S)
    check(reply.payload, payload * 48, "client stream payload")


def bidi(client):
    call = Bidi(client)
    call.ping_pong(50)
    call.finish()
    check(list(call.call), [], "replies after the end")
    check(call.call.code(), grpc.StatusCode.OK, "status")


METADATA = [
    ("x-echo-initial", "first value"),
    ("x-echo-initial", "second: a=b; c, d"),
    ("x-echo-initial", "x" * 4000),
    ("x-echo-initial-bin", b"\xab\xab\xab"),
    ("x-echo-initial-bin", bytes(range(256))),
    ("x-echo-trailing", "trailing value"),
    ("x-echo-trailing-bin", b"\x01"),
    ("x-echo-trailing-bin", b"\x01\x02"),
    ("x-echo-trailing-bin", b"\x00\xff\x00\xff"),
]


def check_metadata(headers, trailers):
    def ours(sent):
        return [(k, v) for k, v in sent if k.startswith("x-echo-")]

    def expected(prefix):
        return [(k, v) for k, v in METADATA if k.startswith(prefix)]

    for actual, prefix in ((headers, "x-echo-initial"), (trailers, "x-echo-trailing")):
        for key in (prefix, prefix + "-bin"):
            values = [v for k, v in ours(actual) if k == key]
            check(values, [v for k, v in expected(prefix) if k == key], key)
        check({k for k, _ in ours(actual)}, {prefix, prefix + "-bin"}, "keys")


def metadata(client):
    request = pb.EchoRequest(payload=b"x")
    _, call = client.echo.Unary.with_call(request, timeout=TIMEOUT_S, metadata=METADATA)
    check_metadata(call.initial_metadata(), call.trailing_metadata())
    stream = Bidi(client, METADATA)
    stream.ping_pong(3)
    stream.finish()
    check(list(stream.call), [], "replies after the end")
    check_metadata(stream.call.initial_metadata(), stream.call.trailing_metadata())


def metadata_on_error(client):
    request = pb.EchoRequest(status=pb.EchoStatus(code=9, message="no"))
    code = grpc.StatusCode.FAILED_PRECONDITION
    call = lambda: client.echo.Unary(request, timeout=TIMEOUT_S, metadata=METADATA)
    error = fails(call, code, "no")
    check_metadata(error.initial_metadata(), error.trailing_metadata())


def early_headers(client):
    stream = Bidi(client, METADATA)
    headers = stream.call.initial_metadata()
    stream.finish()
    check(list(stream.call), [], "replies")
    check_metadata(headers, stream.call.trailing_metadata())


def status_codes(client):
    for code in grpc.StatusCode:
        number = code.value[0]
        if number != 0:
            status = pb.EchoStatus(code=number, message=f"status {number}")
            fails(lambda: unary(client, status=status), code, f"status {number}")


def status_message(client):
    for text in (SPECIAL, "", "100 % of %41 and %zz", "é" * 300, "plain"):
        status = pb.EchoStatus(code=2, message=text)
        fails(lambda: unary(client, status=status), grpc.StatusCode.UNKNOWN, text)


def status_details(client):
    for code in grpc.StatusCode:
        number = code.value[0]
        if number == 0:
            continue
        text = f"detailed \u263a {number}"
        status = pb.EchoStatus(code=number, message=text, detailed=True)
        error = fails(lambda: unary(client, status=status), code, text)
        # Raises where the code or the message in the details are others.
        details = rpc_status.from_call(error).details
        info, retry = error_details_pb2.ErrorInfo(), error_details_pb2.RetryInfo()
        check(len(details), 2, "details")
        check(details[0].Unpack(info) and details[1].Unpack(retry), True, "types of details")
        check((info.reason, info.domain), ("TOLD", "interop"), "ErrorInfo")
        check(dict(info.metadata), {"code": str(number)}, "ErrorInfo.metadata")
        check(retry.retry_delay.ToMilliseconds(), 1500, "RetryInfo")
    plain = pb.EchoStatus(code=5, message="plain")
    error = fails(lambda: unary(client, status=plain), grpc.StatusCode.NOT_FOUND, "plain")
    check(rpc_status.from_call(error), None, "details of a plain status")


def status_on_streams(client):
    code = grpc.StatusCode.FAILED_PRECONDITION
    status = pb.EchoStatus(code=9, message="enough")
    requests = [pb.EchoRequest(payload=b"a"), pb.EchoRequest(status=status)]
    call = lambda: client.echo.ClientStream(iter(requests), timeout=TIMEOUT_S)
    fails(call, code, "enough")

    request = pb.EchoRequest(payload=b"a", replies=2, status=status)
    replies = client.echo.ServerStream(request, timeout=TIMEOUT_S)
    check([next(replies).sequence, next(replies).sequence], [0, 1], "sequence")
    fails(lambda: next(replies), code, "enough")

    stream = Bidi(client)
    stream.ping_pong(2)
    stream.send(b"last", status=status)
    check(next(stream.call).payload, b"last", "last reply")
    fails(lambda: next(stream.call), code, "enough")
    stream.finish()
    check(unary(client).payload, b"still here", "call afterwards")


def expires(call, seconds):
    """Runs `call`, which must fail because its deadline of `seconds` passes."""
    started = time.monotonic()
    try:
        call()
    except grpc.RpcError as error:
        took = time.monotonic() - started
        assert seconds - 0.05 < took < seconds + 2.5, f"took {took} s"
        # grpcio does not look at the clock where the server's own timer cancels the call first.
        code = grpc.StatusCode.CANCELLED if took >= seconds else None
        assert error.code() in (grpc.StatusCode.DEADLINE_EXCEEDED, code), error
        return
    raise AssertionError("succeeded, expected the deadline to pass")


def deadline(client):
    before = cut_short(client)
    request = pb.EchoRequest(delay_ms=10_000)
    expires(lambda: client.echo.Unary(request, timeout=0.3), 0.3)

    def stream():
        request = pb.EchoRequest(delay_ms=50, replies=1000)
        replies = client.echo.ServerStream(request, timeout=0.5)
        check(next(replies).sequence, 0, "sequence")
        list(replies)

    expires(stream, 0.5)
    wait_for_cut_short(client, before, 2)
    check(unary(client).payload, b"still here", "call afterwards")


def cancel(client):
    before = cut_short(client)
    code = grpc.StatusCode.CANCELLED
    stream = Bidi(client)
    stream.ping_pong(2)
    stream.call.cancel()
    fails(lambda: next(stream.call), code)
    stream.finish()

    request = pb.EchoRequest(payload=b"a", replies=100_000, delay_ms=5)
    replies = client.echo.ServerStream(request, timeout=TIMEOUT_S)
    check([next(replies).sequence, next(replies).sequence], [0, 1], "sequence")
    replies.cancel()
    fails(lambda: list(replies), code)

    call = client.echo.Unary.future(pb.EchoRequest(delay_ms=10_000), timeout=TIMEOUT_S)
    time.sleep(0.2)
    call.cancel()
    check(call.code(), code, "status code")
    wait_for_cut_short(client, before, 3)
    check(unary(client).payload, b"still here", "call afterwards")


def unimplemented(client):
    request = pb.EchoRequest(payload=b"a")
    code = grpc.StatusCode.UNIMPLEMENTED
    fails(lambda: client.echo.Unimplemented(request, timeout=TIMEOUT_S), code)
    fails(lambda: client.missing.Call(request, timeout=TIMEOUT_S), code)
    check(unary(client).payload, b"still here", "call afterwards")


def oversized(client):
    code = grpc.StatusCode.RESOURCE_EXHAUSTED
    fails(lambda: unary(client, bytes(5 * MIB)), code)
    fails(lambda: unary(client, reply_bytes=5 * MIB), code)
    check(unary(client).payload, b"still here", "call afterwards")


def concurrent(client):
    def many_unary(worker):
        for number in range(20):
            payload = pattern(64 + worker * 20 + number, worker)
            check(unary(client, payload).payload, payload, "payload")

    def one_bidi(worker):
        stream = Bidi(client)
        stream.ping_pong(20, worker)
        stream.finish()
        check(list(stream.call), [], "replies after the end")

    with futures.ThreadPoolExecutor(max_workers=64) as pool:
        jobs = [pool.submit(many_unary, worker) for worker in range(48)]
        jobs += [pool.submit(one_bidi, worker) for worker in range(16)]
        for job in jobs:
            job.result()


def many_at_once(client):
    requests = [pb.EchoRequest(payload=pattern(50, n), delay_ms=100) for n in range(300)]
    calls = [client.echo.Unary.future(request, timeout=TIMEOUT_S) for request in requests]
    for request, call in zip(requests, calls):
        check(call.result().payload, request.payload, "payload")


def check_compressed(call, want):
    """How many requests came compressed, where the server tells."""
    told = dict(call.trailing_metadata()).get("x-echo-compressed")
    if told is not None:
        check(told, str(want), "compressed requests")


def compression(client, name):
    wanted = {"gzip": grpc.Compression.Gzip, "deflate": grpc.Compression.Deflate}[name]
    options = {"timeout": TIMEOUT_S, "metadata": [("x-echo-compress", name)]}
    payload = pattern(100_000)
    request = pb.EchoRequest(payload=payload)

    def one(client, requests, **more):
        reply, call = client.echo.Unary.with_call(request, **options, **more)
        check(reply.payload, payload, "payload")
        check_compressed(call, requests)

    one(client, 1, compression=wanted)
    one(client, 0)

    sizes = (27182, 2000, 1828, 45904)
    payloads = [pattern(size, seed) for seed, size in enumerate(sizes)]
    requests = iter([pb.EchoRequest(payload=payload) for payload in payloads])
    reply, call = client.echo.ClientStream.with_call(requests, compression=wanted, **options)
    check(reply.payload, b"".join(payloads), "payload")
    check_compressed(call, 4)

    three = pb.EchoRequest(payload=payload, replies=3)
    call = client.echo.ServerStream(three, compression=wanted, **options)
    check([reply.payload for reply in call], [payload] * 3, "payloads")
    check_compressed(call, 1)

    stream = Bidi(client, options["metadata"], wanted)
    for sent in payloads:
        stream.send(sent)
        check(next(stream.call).payload, sent, "payload")
    stream.finish()
    check(list(stream.call), [], "replies after the end")
    check_compressed(stream.call, 4)

    with client.connector.channel(compression=wanted) as channel:
        one(Client(channel, client.connector), 1)


def too_many_pings(client):
    eager = [
        ("grpc.keepalive_time_ms", 1000),
        ("grpc.keepalive_timeout_ms", 20_000),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.max_pings_without_data", 0),
    ]
    with client.connector.channel(eager) as channel:
        started = time.monotonic()
        call = lambda: unary(Client(channel, client.connector), delay_ms=15_000)
        error = fails(call, grpc.StatusCode.UNAVAILABLE)
        # The first is free, the next two are strikes, and the fourth is one too many.
        took = time.monotonic() - started
        if not 3 < took < 8:
            raise AssertionError(f"it took {took} s: {error.details()}")
        unary(Client(channel, client.connector))
    unary(client)


def peer(client):
    """The server knows this client by its certificate."""
    metadata = [("x-echo-peer", "")]
    _, call = client.echo.Unary.with_call(pb.EchoRequest(), timeout=TIMEOUT_S, metadata=metadata)
    told = [value for key, value in call.trailing_metadata() if key == "x-echo-peer"]
    check(told, PEER_NAMES, "names")


def unavailable(client):
    """There is no connection; prints why."""
    print(fails(lambda: unary(client), grpc.StatusCode.UNAVAILABLE).details())


class Connections:
    """Those that calls came on."""

    def __init__(self):
        self.seen = set()

    def add(self, trailers):
        self.seen.add(dict(trailers)["x-echo-address"])

    def enough(self, which):
        if len(self.seen) < 5:
            raise AssertionError(f"only {len(self.seen)} connections, {which}: none was ended")


def connection_age(client):
    tell = [("x-echo-address", "tell")]

    def call(on, seed):
        sent = pattern(1000, seed)
        request = pb.EchoRequest(payload=sent)
        reply, done = client.echo.Unary.with_call(request, timeout=TIMEOUT_S, metadata=tell)
        check(reply.payload, sent, "payload")
        on.add(done.trailing_metadata())

    def calls(on, seed):
        while time.monotonic() < end:
            call(on, seed)
            time.sleep(0.002)

    def streams(on, seed):
        while time.monotonic() < end:
            stream = Bidi(client, metadata=tell)
            for number in range(10):
                sent = pattern(1000 * number, seed)
                stream.send(sent, delay_ms=20)
                check(next(stream.call).payload, sent, "payload")
            stream.finish()
            check(list(stream.call), [], "replies after the end")
            on.add(stream.call.trailing_metadata())

    busy = Connections()
    end = time.monotonic() + 3
    with futures.ThreadPoolExecutor(max_workers=6) as pool:
        jobs = [pool.submit(calls, busy, worker) for worker in range(4)]
        jobs += [pool.submit(streams, busy, worker) for worker in range(2)]
        for job in jobs:
            job.result()
    busy.enough("busy ones")

    idle = Connections()
    for number in range(30):
        call(idle, number)
        time.sleep(0.15 if number % 2 == 0 else 0.01)
    idle.enough("idle ones")

    stream = Bidi(client)
    began = time.monotonic()
    fails(lambda: next(stream.call), grpc.StatusCode.UNAVAILABLE)
    took = time.monotonic() - began
    if not 2 < took < 10:
        raise AssertionError(f"the grace was {took} s")
    stream.finish()
    unary(client)


def jwt(client):
    guard = ("x-echo-guard", "jwt")

    def sent(*values):
        metadata = [guard, *(("authorization", value) for value in values)]
        return client.echo.Unary.with_call(
            pb.EchoRequest(payload=b"x"), timeout=TIMEOUT_S, metadata=metadata
        )

    for name in tokens.ALGORITHMS:
        for scheme in ("Bearer", "bearer"):
            reply, call = sent(f"{scheme} {tokens.good(name)}")
            check(reply.payload, b"x", "payload")
            trailers = dict(call.trailing_metadata())
            check(trailers.get("x-echo-subject"), tokens.SUBJECT, "subject")
    good = f"Bearer {tokens.good('rsa')}"
    refused = {what: [f"Bearer {token}"] for what, token in tokens.bad().items()}
    refused |= {"nothing": [], "twice": [good, good], "another scheme": [f"Basic {good[7:]}"]}
    for what, values in refused.items():
        try:
            fails(lambda: sent(*values), grpc.StatusCode.UNAUTHENTICATED)
        except AssertionError as error:
            raise AssertionError(f"{what}: {error}") from error
    unary(client)


CASES = {
    "jwt": jwt,
    "peer": peer,
    "unavailable": unavailable,
    "connection_age": connection_age,
    "too_many_pings": too_many_pings,
    "gzip": lambda client: compression(client, "gzip"),
    "deflate": lambda client: compression(client, "deflate"),
    "empty_unary": empty_unary,
    "unary": case_unary,
    "large_unary": large_unary,
    "client_stream": client_stream,
    "empty_stream": empty_stream,
    "server_stream": server_stream,
    "large_stream": large_stream,
    "bidi": bidi,
    "metadata": metadata,
    "metadata_on_error": metadata_on_error,
    "early_headers": early_headers,
    "status_codes": status_codes,
    "status_message": status_message,
    "status_details": status_details,
    "status_on_streams": status_on_streams,
    "deadline": deadline,
    "cancel": cancel,
    "unimplemented": unimplemented,
    "oversized": oversized,
    "concurrent": concurrent,
    "many_at_once": many_at_once,
}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--addr", required=True)
    parser.add_argument("--case", required=True, choices=["hello", *CASES])
    parser.add_argument("--tls", action="store_true")
    parser.add_argument("--tls-ca-file")
    parser.add_argument("--tls-cert-file")
    parser.add_argument("--tls-key-file")
    parser.add_argument("--tls-server-name")
    args = parser.parse_args()
    if args.case == "hello":
        hello_client.run(args.addr, "Hello Server you there?")
        return
    connector = Connector(args)
    with connector.channel() as channel:
        CASES[args.case](Client(channel, connector))


if __name__ == "__main__":
    main()
