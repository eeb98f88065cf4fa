// The server of gRPC's official interop cases on grpc-js, with the official flags.
'use strict';

const fs = require('fs');

const { ECHO_INITIAL, ECHO_TRAILING, flags, grpc, proto, sleep, zeros } = require('./shared.js');

const args = flags({ port: '10000', use_tls: 'false', tls_cert_file: '', tls_key_file: '' });
const SERVER_ID = `node ${process.pid}`;

/** Sends the response headers where the call asks for one; returns the trailers. */
function echoMetadata(call) {
  const headers = new grpc.Metadata();
  const trailers = new grpc.Metadata();
  for (const value of call.metadata.get(ECHO_INITIAL)) headers.add(ECHO_INITIAL, value);
  for (const value of call.metadata.get(ECHO_TRAILING)) trailers.add(ECHO_TRAILING, value);
  if (call.metadata.get(ECHO_INITIAL).length > 0) call.sendMetadata(headers);
  return trailers;
}

/** The error that a request asks for, or null. */
function askedFor(status, metadata) {
  if (!status || status.code === 0) return null;
  return { code: status.code, details: status.message, metadata };
}

function emptyCall(call, callback) {
  callback(null, {}, echoMetadata(call));
}

function unaryCall(call, callback) {
  const trailers = echoMetadata(call);
  const { request } = call;
  const error = askedFor(request.response_status, trailers);
  if (error) return callback(error);
  if (request.orca_per_query_report) report(call.getMetricsRecorder(), request);
  const reply = { payload: zeros(request.response_size) };
  if (request.fill_server_id) reply.server_id = SERVER_ID;
  callback(null, reply, trailers);
}

function report(recorder, { orca_per_query_report: asked }) {
  recorder.recordCPUUtilizationMetric(asked.cpu_utilization);
  recorder.recordMemoryUtilizationMetric(asked.memory_utilization);
  for (const [name, value] of Object.entries(asked.request_cost)) {
    recorder.recordRequestCostMetric(name, value);
  }
  for (const [name, value] of Object.entries(asked.utilization)) {
    recorder.recordUtilizationMetric(name, value);
  }
}

function streamingInputCall(call, callback) {
  const trailers = echoMetadata(call);
  let bytes = 0;
  call.on('data', (request) => {
    if (request.payload) bytes += request.payload.body.length;
  });
  call.on('end', () => callback(null, { aggregated_payload_size: bytes }, trailers));
}

/** Answers one request, as slowly as it asks for; false where it ended the call. */
async function answer(call, request, trailers) {
  const error = askedFor(request.response_status, trailers);
  if (error) {
    call.emit('error', error);
    return false;
  }
  for (const { size, interval_us: micros } of request.response_parameters) {
    if (micros > 0) await sleep(micros / 1000);
    call.write({ payload: zeros(size) });
  }
  return true;
}

async function streamingOutputCall(call) {
  const trailers = echoMetadata(call);
  if (await answer(call, call.request, trailers)) call.end(trailers);
}

/** The requests of a call, which goes on after the last. */
const requestsOf = (call) => call.iterator({ destroyOnReturn: false });

async function fullDuplexCall(call) {
  const trailers = echoMetadata(call);
  try {
    for await (const request of requestsOf(call)) {
      if (!(await answer(call, request, trailers))) return;
    }
    call.end(trailers);
  } catch (error) {
    // A call that the client cancelled: nobody is there any more.
    if (!call.cancelled) throw error;
  }
}

async function halfDuplexCall(call) {
  const trailers = echoMetadata(call);
  const requests = [];
  for await (const request of requestsOf(call)) requests.push(request);
  for (const request of requests) {
    if (!(await answer(call, request, trailers))) return;
  }
  call.end(trailers);
}

const server = new grpc.Server({ 'grpc.server_call_metric_recording': 1 });
server.addService(proto.grpc.testing.TestService.service, {
  EmptyCall: emptyCall,
  UnaryCall: unaryCall,
  CacheableUnaryCall: unaryCall,
  StreamingInputCall: streamingInputCall,
  StreamingOutputCall: streamingOutputCall,
  FullDuplexCall: fullDuplexCall,
  HalfDuplexCall: halfDuplexCall,
});

let credentials = grpc.ServerCredentials.createInsecure();
if (args.use_tls === 'true') {
  const chain = fs.readFileSync(args.tls_cert_file);
  const key = fs.readFileSync(args.tls_key_file);
  credentials = grpc.ServerCredentials.createSsl(null, [{ cert_chain: chain, private_key: key }]);
}
server.bindAsync(`[::]:${args.port}`, credentials, (error, port) => {
  if (error) throw error;
  console.log(`listening on [::]:${port}`);
});
