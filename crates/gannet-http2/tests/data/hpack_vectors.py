#!/usr/bin/env python3
"""Header blocks of other HPACK implementations, and a check of ours by them.

Regenerate hpack_vectors.txt (deterministic):

    python3 -m venv /tmp/venv && /tmp/venv/bin/pip install hpack==4.2.0
    /tmp/venv/bin/python hpack_vectors.py generate > hpack_vectors.txt

nghttp2's blocks come from libnghttp2.so.14 (1.52.0), which Debian's nghttp2-client brings along.

Let both decode what our encoder makes of the same lists:

    GANNET_HPACK_DUMP=/tmp/dump.txt cargo test -p gannet-http2 our_blocks_come_back
    /tmp/venv/bin/python hpack_vectors.py check < /tmp/dump.txt

The file is a list of lines:

    sequence          a new connection: empty tables of 4,096 bytes
    limit N           SETTINGS_HEADER_TABLE_SIZE = N, acknowledged
    list              a header list follows
    +name|value       a field; what is not printable ASCII, and \\ and | and space, as \\xNN
    !name|value       a field that must never be indexed
    python N HEX      the list as a block of that encoder, whose table then has N bytes
    nghttp2 N HEX
"""

import ctypes
import random
import sys

import hpack

MAX_BYTES = 1 << 24


class Nv(ctypes.Structure):
    _fields_ = [
        ("name", ctypes.c_char_p),
        ("value", ctypes.c_char_p),
        ("namelen", ctypes.c_size_t),
        ("valuelen", ctypes.c_size_t),
        ("flags", ctypes.c_uint8),
    ]


class Nghttp2Encoder:
    def __init__(self):
        self.lib = ctypes.CDLL("libnghttp2.so.14")
        self.lib.nghttp2_hd_deflate_hd.restype = ctypes.c_ssize_t
        self.lib.nghttp2_hd_deflate_get_dynamic_table_size.restype = ctypes.c_size_t
        self.state = ctypes.c_void_p()
        size = ctypes.c_size_t(65536)
        assert self.lib.nghttp2_hd_deflate_new(ctypes.byref(self.state), size) == 0

    def limit(self, size):
        assert self.lib.nghttp2_hd_deflate_change_table_size(self.state, ctypes.c_size_t(size)) == 0

    def encode(self, fields):
        nv = (Nv * len(fields))()
        for at, (name, value, never) in enumerate(fields):
            nv[at] = Nv(name, value, len(name), len(value), 1 if never else 0)
        out = ctypes.create_string_buffer(65536)
        length = self.lib.nghttp2_hd_deflate_hd(
            self.state, out, ctypes.c_size_t(len(out)), nv, ctypes.c_size_t(len(fields))
        )
        assert length >= 0
        return out.raw[:length]

    def table_bytes(self):
        return self.lib.nghttp2_hd_deflate_get_dynamic_table_size(self.state)


class Nghttp2Decoder:
    def __init__(self):
        self.lib = ctypes.CDLL("libnghttp2.so.14")
        self.lib.nghttp2_hd_inflate_hd2.restype = ctypes.c_ssize_t
        self.state = ctypes.c_void_p()
        assert self.lib.nghttp2_hd_inflate_new(ctypes.byref(self.state)) == 0

    def limit(self, size):
        assert self.lib.nghttp2_hd_inflate_change_table_size(self.state, ctypes.c_size_t(size)) == 0

    def decode(self, block):
        fields = []
        while True:
            nv, flags = Nv(), ctypes.c_int()
            used = self.lib.nghttp2_hd_inflate_hd2(
                self.state, ctypes.byref(nv), ctypes.byref(flags), block,
                ctypes.c_size_t(len(block)), 1
            )
            assert used >= 0, f"nghttp2 says {used}"
            block = block[used:]
            if flags.value & 2:
                fields.append((raw(nv, "name"), raw(nv, "value"), bool(nv.flags & 1)))
            if flags.value & 1:
                self.lib.nghttp2_hd_inflate_end_headers(self.state)
                return fields


def raw(nv, member):
    """The bytes behind a pointer of `nv`, zeros included."""
    at = ctypes.c_void_p.from_buffer(nv, getattr(Nv, member).offset).value
    return ctypes.string_at(at, getattr(nv, member + "len"))


class PythonEncoder:
    def __init__(self):
        self.encoder = hpack.Encoder()

    def limit(self, size):
        self.encoder.header_table_size = size

    def encode(self, fields):
        # hpack says every size that there was; of several, RFC 7541, section 4.2, wants the
        # smallest and the last.
        sizes = self.encoder.table_size_changes
        if sizes:
            self.encoder.table_size_changes = list(dict.fromkeys([min(sizes), sizes[-1]]))
        kinds = {True: hpack.NeverIndexedHeaderTuple, False: hpack.HeaderTuple}
        headers = [kinds[never](name, value) for name, value, never in fields]
        # Without the Huffman code now and then.
        return self.encoder.encode(headers, huffman=len(fields) % 7 != 0)

    def table_bytes(self):
        return self.encoder.header_table._current_size


class PythonDecoder:
    def __init__(self):
        self.decoder = hpack.Decoder(max_header_list_size=MAX_BYTES)

    def limit(self, size):
        self.decoder.max_allowed_table_size = size

    def decode(self, block):
        headers = self.decoder.decode(block, raw=True)
        return [(bytes(h[0]), bytes(h[1]), not h.indexable) for h in headers]


def field(name, value, never=False):
    return (name.encode(), value if isinstance(value, bytes) else value.encode(), never)


def text(rng, alphabet, low, high):
    return "".join(rng.choice(alphabet) for _ in range(rng.randint(low, high)))


HEX = "0123456789abcdef"
LETTERS = "abcdefghijklmnopqrstuvwxyz"
WORDS = "fish gull tern skua puffin auk cliff nest wing tide harbour storm north".split()


def metadata(rng):
    name = "x-" + "-".join(rng.sample(WORDS, rng.randint(1, 2)))
    kind = rng.randrange(6)
    if kind == 0:
        return field(name + "-bin", text(rng, LETTERS + LETTERS.upper() + "+/0123456789", 0, 60))
    if kind == 1:
        return field(name, bytes(rng.randrange(0x21, 0x100) for _ in range(rng.randint(1, 30))))
    if kind == 2:
        return field(name, " ".join(rng.choices(WORDS, k=rng.randint(0, 12))))
    if kind == 3:
        return field("authorization", "Bearer " + text(rng, LETTERS, 20, 200), rng.random() < 0.7)
    if kind == 4:
        return field("x-request-id", text(rng, HEX, 32, 32))
    return field("traceparent", f"00-{text(rng, HEX, 32, 32)}-{text(rng, HEX, 16, 16)}-01")


def grpc_request(rng):
    service = rng.choice(["harbour.v1.Berths", "colony.Census", "tide.Tables"])
    fields = [
        field(":method", "POST"),
        field(":scheme", rng.choice(["http", "https"])),
        field(":path", f"/{service}/{rng.choice(['List', 'Watch', 'Count', 'Move'])}"),
        field(":authority", rng.choice(["localhost:50051", "colony.example:443"])),
        field("te", "trailers"),
        field("content-type", rng.choice(["application/grpc", "application/grpc+proto"])),
        field("user-agent", rng.choice(["grpc-go/1.99.0", "grpc-java-netty/1.99.0", "x/1"])),
    ]
    if rng.random() < 0.6:
        fields.append(field("grpc-timeout", f"{rng.randint(1, 99999999)}{rng.choice('mun')}"))
    if rng.random() < 0.5:
        fields.append(field("grpc-accept-encoding", "identity,deflate,gzip"))
    return fields + [metadata(rng) for _ in range(rng.choice([0, 0, 1, 2, 4]))]


def grpc_response(rng):
    if rng.random() < 0.5:
        return [field(":status", "200"), field("content-type", "application/grpc")] + [
            metadata(rng) for _ in range(rng.choice([0, 0, 0, 2]))
        ]
    status = rng.choice([0, 0, 0, 3, 5, 13, 14])
    fields = [field("grpc-status", str(status))]
    if status:
        message = "%20".join(rng.choices(WORDS, k=rng.randint(1, 15)))
        fields.append(field("grpc-message", message))
    return fields + [metadata(rng) for _ in range(rng.choice([0, 0, 1]))]


def http_request(rng):
    page = "/".join(rng.choices(WORDS, k=rng.randint(0, 4)))
    fields = [
        field(":method", rng.choice(["GET", "GET", "HEAD", "PUT", "OPTIONS"])),
        field(":scheme", "https"),
        field(":authority", "www.colony.example"),
        field(":path", "/" + page),
        field("accept", rng.choice(["*/*", "text/html,application/xhtml+xml;q=0.9"])),
        field("accept-encoding", rng.choice(["gzip, deflate", "gzip, deflate, br, zstd"])),
        field("accept-language", "en-GB,en;q=0.5"),
    ]
    for _ in range(rng.choice([0, 1, 3])):
        fields.append(field("cookie", f"{rng.choice(WORDS)}={text(rng, HEX, 1, 40)}"))
    if rng.random() < 0.3:
        fields.append(field("if-none-match", f'"{text(rng, HEX, 8, 8)}"'))
    return fields


def http_response(rng):
    fields = [
        field(":status", rng.choice(["200", "204", "206", "304", "302", "404", "418", "500"])),
        field("date", f"Mon, 21 Oct 2013 20:13:{rng.randint(10, 59)} GMT"),
        field("server", "rookery/0.1"),
        field("content-length", str(rng.randint(0, 10**9))),
    ]
    if rng.random() < 0.5:
        fields.append(field("set-cookie", f"{rng.choice(WORDS)}={text(rng, HEX, 4, 80)}; Secure"))
    if rng.random() < 0.3:
        fields.append(field("cache-control", rng.choice(["no-cache", "private", "max-age=60"])))
    return fields


def odd(rng):
    """Legal for HPACK, whatever HTTP/2 says of it."""
    every_byte = bytes(range(256))
    return rng.choice([
        [],
        [(b"", b"", False)],
        [(b"x", every_byte, False), (b"x", every_byte[::-1], True)],
        [(b"UPPER-Case", b" padded ", False)],
        [(b":unknown", b"pseudo", False)],
        [(b"connection", b"close", False), (b"te", b"gzip", False)],
        [(b"large", text(rng, LETTERS, 3000, 5000).encode(), False)],
        [(b"crumb", b"%d" % n, False) for n in range(rng.randint(20, 90))],
        [(rng.randbytes(rng.randint(0, 9)), rng.randbytes(rng.randint(0, 99)), False)],
    ])


STYLES = {
    "grpc": [grpc_request, grpc_response],
    "http": [http_request, http_response],
    "mixed": [grpc_request, grpc_response, http_request, http_response, odd],
}
LIMITS = [0, 1, 31, 32, 64, 100, 256, 500, 1024, 2000, 4096, 4097, 16384, 65536]


def sequence(rng, style, lists, change_rate):
    """The steps of one connection: ("limit", n) and ("list", fields)."""
    for _ in range(lists):
        while rng.random() < change_rate:
            yield ("limit", rng.choice(LIMITS))
        yield ("list", rng.choice(STYLES[style])(rng))


def escape(raw):
    return "".join(chr(b) if 0x20 < b < 0x7F and b not in b"\\|" else f"\\x{b:02x}" for b in raw)


def unescape(escaped):
    parts = escaped.split("\\x")
    return parts[0].encode() + b"".join(bytes.fromhex(p[:2]) + p[2:].encode() for p in parts[1:])


def generate():
    rng = random.Random(7541)
    plan = [("grpc", 40, 0), ("grpc", 40, 0.1), ("http", 40, 0), ("http", 40, 0.1)]
    plan += [("mixed", 40, 0), ("mixed", 40, 0.15), ("mixed", 30, 0.5)] * 2
    for style, lists, change_rate in plan:
        print("sequence")
        encoders = {"python": PythonEncoder(), "nghttp2": Nghttp2Encoder()}
        for step, what in sequence(rng, style, lists, change_rate):
            if step == "limit":
                print("limit", what)
                for encoder in encoders.values():
                    encoder.limit(what)
                continue
            print("list")
            for name, value, never in what:
                print(("!" if never else "+") + escape(name) + "|" + escape(value))
            for label, encoder in encoders.items():
                block = encoder.encode(what)
                print(f"{label} {encoder.table_bytes()} {block.hex()}".rstrip())


def check():
    """Reads the same format from stdin, with our blocks under the label "gannet"."""
    decoders, fields, blocks = [], [], 0
    for line in sys.stdin.read().split("\n"):
        word, _, rest = line.partition(" ")
        if line == "sequence":
            decoders = [PythonDecoder(), Nghttp2Decoder()]
        elif word == "limit":
            for decoder in decoders:
                decoder.limit(int(rest))
        elif line == "list":
            fields = []
        elif line[:1] in ("+", "!"):
            name, value = line[1:].split("|")
            fields.append((unescape(name), unescape(value), line[0] == "!"))
        elif word == "gannet":
            block = bytes.fromhex(rest.partition(" ")[2])
            for decoder in decoders:
                decoded = decoder.decode(block)
                assert decoded == fields, f"{type(decoder)}: {decoded} is not {fields}"
            blocks += 1
    print(f"{blocks} blocks decode alike with hpack {hpack.__version__} and nghttp2")
    assert blocks > 0


if __name__ == "__main__":
    {"generate": generate, "check": check}[sys.argv[1]]()
