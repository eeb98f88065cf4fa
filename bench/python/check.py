"""Checks that a program of the benchmark does what all of them do; its exit code is the verdict.

    check.py grpc ADDR [CA]            the hello world, and the four methods of the echo service;
                                       over TLS, trusting the certificates in the file CA
    check.py rest ADDR                 POST /hello
    check.py client ADDR PROGRAM ...   a client's reports in each mode, against the server there
"""

import http.client
import json
import subprocess
import sys

import grpc

import echo_pb2
import echo_pb2_grpc
import grpctest_pb2
import grpctest_pb2_grpc

TIMEOUT_SECONDS = 20
MESSAGE_BYTES_MAX = 8 * 1024 * 1024
# Each mode, and the messages that a call of it brings.
MODES = {"unary": 1, "server-stream": 1000, "bidi": 1000, "large": 1}
FIELDS = {"calls", "messages", "elapsed_s", "cpu_s", "p50_us", "p99_us", "p999_us"}


def expect(what, got, wanted):
    if got != wanted:
        sys.exit(f"{what}: {str(got)[:200]!r}, not {str(wanted)[:200]!r}")


def greeting(text):
    return f'Hello I am up and running received "{text}" message from you'


def check_grpc(addr, authority=None):
    options = [
        ("grpc.max_receive_message_length", MESSAGE_BYTES_MAX),
        ("grpc.max_send_message_length", MESSAGE_BYTES_MAX),
    ]
    if authority:
        with open(authority, "rb") as file:
            credentials = grpc.ssl_channel_credentials(file.read())
        options.append(("grpc.ssl_target_name_override", "localhost"))
        opened = grpc.secure_channel(addr, credentials, options=options)
    else:
        opened = grpc.insecure_channel(addr, options=options)
    with opened as channel:
        hello = grpctest_pb2_grpc.GrpctestStub(channel)
        for text in ["hello", "", "Grüße \\ \" €"]:
            request = grpctest_pb2.Message(message=text)
            reply = hello.GetServerResponse(request, timeout=TIMEOUT_SECONDS)
            expect("hello", (reply.message, reply.received), (greeting(text), True))
        check_echo(echo_pb2_grpc.EchoStub(channel))


def check_echo(echo):
    def payloads(*sizes):
        return [echo_pb2.Payload(body=bytes(i % 251 for i in range(size))) for size in sizes]

    # 5 MiB is above what servers take where nobody raised their limits.
    for payload in payloads(0, 16, 1 << 20, 5 << 20):
        reply = echo.Unary(payload, timeout=TIMEOUT_SECONDS)
        expect("unary echo", reply.body, payload.body)
    for messages, size in [(0, 16), (1, 0), (1000, 16), (3, 1 << 20)]:
        want = echo_pb2.Want(messages=messages, bytes=size)
        bodies = [reply.body for reply in echo.ServerStream(want, timeout=TIMEOUT_SECONDS)]
        expect("server stream", bodies, [b"x" * size] * messages)
    for sizes in [(), (16,) * 1000, (1 << 20,) * 3]:
        sent = payloads(*sizes)
        reply = echo.ClientStream(iter(sent), timeout=TIMEOUT_SECONDS)
        expect("client stream", reply.messages, len(sent))
        replies = [reply.body for reply in echo.BidiStream(iter(sent), timeout=TIMEOUT_SECONDS)]
        expect("bidi stream", replies, [payload.body for payload in sent])


def check_rest(addr):
    connection = http.client.HTTPConnection(addr, timeout=TIMEOUT_SECONDS)
    # Twice: the connection stays open.
    for text in ["hello", "Grüße \\ \" €"]:
        headers = {"Content-Type": "application/json"}
        connection.request("POST", "/hello", json.dumps({"message": text}), headers)
        reply = connection.getresponse()
        body = json.loads(reply.read())
        wanted = (200, {"message": greeting(text), "received": True})
        expect("POST /hello", (reply.status, body), wanted)
    connection.close()


def report(program, addr, *words):
    command = [*program, "--addr", addr, "--threads", "1", "--in-flight", "4", *words]
    ended = subprocess.run(command, capture_output=True, timeout=TIMEOUT_SECONDS)
    if ended.returncode != 0:
        sys.exit(f"{words}: {ended.returncode}: {ended.stderr.decode()[-2000:]}")
    fields = json.loads(ended.stdout)
    expect(f"fields of {words}", set(fields), FIELDS)
    quantiles = [fields[name] for name in ("p50_us", "p99_us", "p999_us")]
    if not (0 < quantiles[0] and quantiles == sorted(quantiles)):
        sys.exit(f"{words}: no order in {fields}")
    if not (fields["elapsed_s"] > 0 and fields["cpu_s"] > 0):
        sys.exit(f"{words}: no sense in the times of {fields}")
    return fields


def check_client(addr, *program):
    for mode, messages in MODES.items():
        fields = report(program, addr, "--mode", mode, "--calls", "10")
        expect(f"calls and messages of {mode}", (fields["calls"], fields["messages"]),
               (10, 10 * messages))
    fields = report(program, addr, "--mode", "bidi", "--calls", "3", "--messages", "7",
                    "--bytes", "0")
    expect("calls and messages of a small bidi", (fields["calls"], fields["messages"]), (3, 21))
    fields = report(program, addr, "--seconds", "0.3", "--warm-up-seconds", "0.1")
    if fields["elapsed_s"] < 0.3:
        sys.exit(f"not for as long as it was told: {fields}")
    # Nothing is measured by accident.
    unknown = [*program, "--addr", addr, "--mode", "no-such-mode"]
    if subprocess.run(unknown, capture_output=True, timeout=TIMEOUT_SECONDS).returncode == 0:
        sys.exit("an unknown mode is no error")


if __name__ == "__main__":
    checks = {"grpc": check_grpc, "rest": check_rest, "client": check_client}
    checks[sys.argv[1]](*sys.argv[2:])
