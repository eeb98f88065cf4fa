"""Load on a server that is replaced again and again: callers of all kinds of calls, each one call
after the other, until standard input ends. Every call must be answered; how many were is printed.
"""

import argparse
import sys
import threading

import grpc

import gannet_interop_pb2 as pb
import gannet_interop_pb2_grpc as pb_grpc

CHANNELS = 4
CALL = {"timeout": 60, "wait_for_ready": True}
OPTIONS = [
    # A connection for each channel.
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.initial_reconnect_backoff_ms", 50),
    ("grpc.min_reconnect_backoff_ms", 50),
    ("grpc.max_reconnect_backoff_ms", 200),
]


def request(**fields):
    return pb.EchoRequest(payload=b"x" * 500, **{"replies": 1, **fields})


def unary(echo):
    assert len(echo.Unary(request(delay_ms=5), **CALL).payload) == 500


def upload(echo):
    assert len(echo.ClientStream((request() for _ in range(5)), **CALL).payload) == 2500


def download(echo):
    assert len(list(echo.ServerStream(request(replies=20, delay_ms=2), **CALL))) == 20


def chat(echo):
    assert len(list(echo.Bidi((request(delay_ms=2) for _ in range(5)), **CALL))) == 5


class Caller(threading.Thread):
    def __init__(self, echo, kind, stopped):
        super().__init__()
        self.echo, self.kind, self.stopped = echo, kind, stopped
        self.answered = 0
        self.failure = None

    def run(self):
        try:
            while not self.stopped.is_set():
                self.kind(self.echo)
                self.answered += 1
        except Exception as error:  # Whatever it is, the call was not answered.
            self.failure = error


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--addr", required=True)
    args = parser.parse_args()
    stopped = threading.Event()
    channels = [grpc.insecure_channel(args.addr, options=OPTIONS) for _ in range(CHANNELS)]
    callers = [
        Caller(pb_grpc.EchoStub(channel), kind, stopped)
        for channel in channels
        for kind in (unary, upload, download, chat)
    ]
    for caller in callers:
        caller.start()
    sys.stdin.read()
    stopped.set()
    for caller in callers:
        caller.join()
    failures = [caller.failure for caller in callers if caller.failure is not None]
    for failure in failures:
        print(failure, file=sys.stderr)
    print(f"answered {sum(caller.answered for caller in callers)}")
    sys.exit(1 if failures else 0)
