"""The hello world over REST: FastAPI on uvicorn, with uvloop and httptools.

One process and so one interpreter lock: `--threads` is accepted and changes nothing.
"""

import argparse
import socket
import sys
import threading

import fastapi
import pydantic
import uvicorn


class Message(pydantic.BaseModel):
    message: str


class MessageResponse(pydantic.BaseModel):
    message: str
    received: bool


app = fastapi.FastAPI()


@app.post("/hello")
async def hello(request: Message) -> MessageResponse:
    text = f'Hello I am up and running received "{request.message}" message from you'
    return MessageResponse(message=text, received=True)


class Server(uvicorn.Server):
    """Says where it listens once it does, and ends at the end of standard input."""

    async def startup(self, sockets=None):
        await super().startup(sockets)
        for listener in sockets:
            host, port = listener.getsockname()[:2]
            print(f"listening on {host}:{port}", flush=True)
        threading.Thread(target=self.wait_for_end, daemon=True).start()

    def wait_for_end(self):
        # What is buffered by `sys.stdin` is locked while the interpreter ends: read below it.
        while sys.stdin.buffer.raw.read(4096):
            pass
        self.should_exit = True


def serve(addr):
    host, _, port = addr.rpartition(":")
    listener = socket.create_server((host, int(port)), backlog=1024)
    config = uvicorn.Config(
        app, loop="uvloop", http="httptools", ws="none", log_level="critical", access_log=False
    )
    Server(config).run(sockets=[listener])


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--addr", default="127.0.0.1:0")
    parser.add_argument("--threads", type=int, default=1)
    serve(parser.parse_args().addr)
