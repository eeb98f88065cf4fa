// What the client and the server share: flags, the generated code, and the data of the cases.
'use strict';

const path = require('path');
const { parseArgs } = require('util');

const grpc = require('@grpc/grpc-js');
const protoLoader = require('@grpc/proto-loader');

const ECHO_INITIAL = 'x-grpc-test-echo-initial';
const ECHO_TRAILING = 'x-grpc-test-echo-trailing-bin';

/** The flags of the command line, each as text; an unknown one is an error. */
function flags(defaults) {
  const options = {};
  for (const [name, value] of Object.entries(defaults)) {
    options[name] = { type: 'string', default: value };
  }
  return parseArgs({ options }).values;
}

const files = ['grpc_testing.proto', 'orca_service.proto'];
const definition = protoLoader.loadSync(files, {
  includeDirs: [path.join(__dirname, 'proto')],
  keepCase: true,
  defaults: true,
  enums: String,
  longs: Number,
});
const proto = grpc.loadPackageDefinition(definition);

/** A payload of so many zero bytes. */
function zeros(bytes) {
  return { body: Buffer.alloc(bytes) };
}

/** Whether this is a payload of so many zero bytes. */
function isZeros(payload, bytes) {
  return payload !== null && payload.body.equals(Buffer.alloc(bytes));
}

const sleep = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

module.exports = { ECHO_INITIAL, ECHO_TRAILING, flags, grpc, isZeros, proto, sleep, zeros };
