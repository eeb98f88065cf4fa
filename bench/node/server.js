// The hello world and the echo service on @grpc/grpc-js. One thread, whatever `--threads` says.
'use strict';

const fs = require('node:fs');
const path = require('node:path');
const { parseArgs } = require('node:util');
const grpc = require('@grpc/grpc-js');
const loader = require('@grpc/proto-loader');

const MESSAGE_BYTES_MAX = 8 * 1024 * 1024;
const FILL = 'x';

const { values: flags } = parseArgs({
  options: {
    addr: { type: 'string', default: '127.0.0.1:0' },
    threads: { type: 'string', default: '1' },
    'tls-cert': { type: 'string' },
    'tls-key': { type: 'string' },
  },
});

const definition = loader.loadSync(['grpctest.proto', 'echo.proto'], {
  includeDirs: [path.join(__dirname, '../proto')],
  keepCase: true,
  longs: Number,
  defaults: true,
});
const { grpctest, bench } = grpc.loadPackageDefinition(definition);

function getServerResponse(call, done) {
  const text = `Hello I am up and running received "${call.request.message}" message from you`;
  done(null, { message: text, received: true });
}

function unary(call, done) {
  done(null, call.request);
}

// Writes as long as the stream takes it, and goes on when it has drained.
function serverStream(call) {
  const { messages, bytes } = call.request;
  if (bytes > MESSAGE_BYTES_MAX - 16) {
    const code = grpc.status.INVALID_ARGUMENT;
    call.emit('error', { code, details: 'messages would be too large' });
    return;
  }
  const payload = { body: Buffer.alloc(bytes, FILL) };
  let left = messages;
  const write = () => {
    while (left > 0) {
      left -= 1;
      if (!call.write(payload)) {
        call.once('drain', write);
        return;
      }
    }
    call.end();
  };
  write();
}

function clientStream(call, done) {
  let messages = 0;
  call.on('data', () => {
    messages += 1;
  });
  call.on('end', () => done(null, { messages }));
}

function bidiStream(call) {
  call.on('data', (payload) => {
    if (!call.write(payload)) {
      call.pause();
      call.once('drain', () => call.resume());
    }
  });
  call.on('end', () => call.end());
}

function credentials(cert, key) {
  if (!cert && !key) return grpc.ServerCredentials.createInsecure();
  const pair = { cert_chain: fs.readFileSync(cert), private_key: fs.readFileSync(key) };
  return grpc.ServerCredentials.createSsl(null, [pair]);
}

const server = new grpc.Server({
  'grpc.max_receive_message_length': MESSAGE_BYTES_MAX,
  'grpc.max_send_message_length': MESSAGE_BYTES_MAX,
});
server.addService(grpctest.Grpctest.service, { GetServerResponse: getServerResponse });
server.addService(bench.Echo.service, {
  Unary: unary,
  ServerStream: serverStream,
  ClientStream: clientStream,
  BidiStream: bidiStream,
});
const identity = credentials(flags['tls-cert'], flags['tls-key']);
server.bindAsync(flags.addr, identity, (error, port) => {
  if (error) {
    console.error(`cannot listen on ${flags.addr}: ${error.message}`);
    process.exit(1);
  }
  console.log(`listening on ${flags.addr.replace(/:\d+$/, '')}:${port}`);
  process.stdin.resume();
  process.stdin.on('end', () => process.exit(0));
});
