// The cases, as gRPC's interop-test-descriptions has them.
'use strict';

const assert = require('assert');

const { ECHO_INITIAL, ECHO_TRAILING, grpc, isZeros, proto, sleep, zeros } = require('./shared.js');

const LARGE_REQUEST_BYTES = 271828;
const LARGE_RESPONSE_BYTES = 314159;
const REQUEST_BYTES = [27182, 8, 1828, 45904];
const RESPONSE_BYTES = [31415, 9, 2653, 58979];
const SPECIAL = '\t\ntest with whitespace\r\nand Unicode BMP \u263a and non-BMP \u{1f608}\t\n';
const LOAD_REPORT = 'endpoint-load-metrics-bin';
const REPORT_MILLISECONDS_MAX = 30000;
const PICKS = 100;

/** A call with one reply: the reply, its headers and trailers, or a rejection with its status. */
function unary(stub, method, request, metadata, options = {}) {
  return new Promise((resolve, reject) => {
    let reply;
    let headers;
    const call = stub[method](request, metadata, options, (error, value) => {
      if (error) reject(error);
      reply = value;
    });
    call.on('metadata', (received) => (headers = received));
    call.on('status', ({ code, metadata: trailers }) => {
      if (code === grpc.status.OK) resolve({ reply, headers, trailers });
    });
  });
}

/** The replies of a call as they come; `next()` gives null at their end, and throws its status. */
class Replies {
  constructor(call) {
    this.waiting = call.iterator({ destroyOnReturn: false });
    call.on('metadata', (headers) => (this.headers = headers));
    this.trailers = new Promise((resolve) => {
      call.on('status', ({ metadata }) => resolve(metadata));
    });
  }

  async next() {
    const { done, value } = await this.waiting.next();
    return done ? null : value;
  }
}

function largeRequest() {
  return { response_size: LARGE_RESPONSE_BYTES, payload: zeros(LARGE_REQUEST_BYTES) };
}

function ping(requestBytes, replyBytes) {
  return { response_parameters: [{ size: replyBytes }], payload: zeros(requestBytes) };
}

function checkReply(reply, bytes) {
  assert(reply, 'the stream ended early');
  assert(isZeros(reply.payload, bytes), `the payload is not ${bytes} zeros`);
}

/** The promise must be rejected with this status. */
async function expectStatus(promise, code, message) {
  await assert.rejects(promise, (error) => {
    assert.strictEqual(error.code, code, error.message);
    if (message !== undefined) assert.strictEqual(error.details, message);
    return true;
  });
}

async function empty_unary({ test, metadata }) {
  const { reply } = await unary(test, 'EmptyCall', {}, metadata());
  assert.deepStrictEqual({ ...reply }, {});
}

async function large_unary({ test, metadata }) {
  const { reply } = await unary(test, 'UnaryCall', largeRequest(), metadata());
  checkReply(reply, LARGE_RESPONSE_BYTES);
}

async function client_streaming({ test, metadata }) {
  const reply = await new Promise((resolve, reject) => {
    const done = (error, value) => (error ? reject(error) : resolve(value));
    const call = test.StreamingInputCall(metadata(), done);
    for (const bytes of REQUEST_BYTES) call.write({ payload: zeros(bytes) });
    call.end();
  });
  assert.strictEqual(reply.aggregated_payload_size, 74922);
}

async function server_streaming({ test, metadata }) {
  const request = { response_parameters: RESPONSE_BYTES.map((size) => ({ size })) };
  const replies = new Replies(test.StreamingOutputCall(request, metadata()));
  for (const bytes of RESPONSE_BYTES) checkReply(await replies.next(), bytes);
  assert.strictEqual(await replies.next(), null);
}

async function ping_pong({ test, metadata }) {
  const call = test.FullDuplexCall(metadata());
  const replies = new Replies(call);
  for (const [index, bytes] of RESPONSE_BYTES.entries()) {
    call.write(ping(REQUEST_BYTES[index], bytes));
    checkReply(await replies.next(), bytes);
  }
  call.end();
  assert.strictEqual(await replies.next(), null);
}

async function half_duplex({ test, metadata }) {
  const call = test.HalfDuplexCall(metadata());
  const replies = new Replies(call);
  for (const bytes of RESPONSE_BYTES) call.write(ping(0, bytes));
  call.end();
  for (const bytes of RESPONSE_BYTES) checkReply(await replies.next(), bytes);
  assert.strictEqual(await replies.next(), null);
}

async function empty_stream({ test, metadata }) {
  const call = test.FullDuplexCall(metadata());
  call.end();
  assert.strictEqual(await new Replies(call).next(), null);
}

async function custom_metadata({ test, metadata }) {
  const sent = metadata();
  sent.add(ECHO_INITIAL, 'test_initial_metadata_value');
  sent.add(ECHO_TRAILING, Buffer.from('ababab', 'hex'));
  const check = (headers, trailers) => {
    assert.deepStrictEqual(headers.get(ECHO_INITIAL), ['test_initial_metadata_value']);
    assert.deepStrictEqual(trailers.get(ECHO_TRAILING), [Buffer.from('ababab', 'hex')]);
  };
  const { headers, trailers } = await unary(test, 'UnaryCall', largeRequest(), sent);
  check(headers, trailers);
  const call = test.FullDuplexCall(sent);
  const replies = new Replies(call);
  call.end(ping(LARGE_REQUEST_BYTES, LARGE_RESPONSE_BYTES));
  checkReply(await replies.next(), LARGE_RESPONSE_BYTES);
  assert.strictEqual(await replies.next(), null);
  check(replies.headers, await replies.trailers);
}

async function status_code_and_message({ test, metadata }) {
  const request = { response_status: { code: 2, message: 'test status message' } };
  const expected = [grpc.status.UNKNOWN, 'test status message'];
  await expectStatus(unary(test, 'UnaryCall', request, metadata()), ...expected);
  const call = test.FullDuplexCall(metadata());
  const replies = new Replies(call);
  call.end(request);
  await expectStatus(replies.next(), ...expected);
}

async function special_status_message({ test, metadata }) {
  const request = { response_status: { code: 2, message: SPECIAL } };
  const call = unary(test, 'UnaryCall', request, metadata());
  await expectStatus(call, grpc.status.UNKNOWN, SPECIAL);
}

async function unimplemented_method({ test, metadata }) {
  const call = unary(test, 'UnimplementedCall', {}, metadata());
  await expectStatus(call, grpc.status.UNIMPLEMENTED);
}

async function unimplemented_service({ missing, metadata }) {
  const call = unary(missing, 'UnimplementedCall', {}, metadata());
  await expectStatus(call, grpc.status.UNIMPLEMENTED);
}

async function cancel_after_begin({ test, metadata }) {
  const outcome = new Promise((resolve, reject) => {
    const done = (error, value) => (error ? reject(error) : resolve(value));
    test.StreamingInputCall(metadata(), done).cancel();
  });
  await expectStatus(outcome, grpc.status.CANCELLED);
}

async function cancel_after_first_response({ test, metadata }) {
  const call = test.FullDuplexCall(metadata());
  const replies = new Replies(call);
  call.write(ping(REQUEST_BYTES[0], RESPONSE_BYTES[0]));
  checkReply(await replies.next(), RESPONSE_BYTES[0]);
  call.cancel();
  await expectStatus(replies.next(), grpc.status.CANCELLED);
}

async function timeout_on_sleeping_server({ test, metadata }) {
  const call = test.FullDuplexCall(metadata(), { deadline: Date.now() + 1 });
  const replies = new Replies(call);
  call.write({ payload: zeros(REQUEST_BYTES[0]) });
  await expectStatus(replies.next(), grpc.status.DEADLINE_EXCEEDED);
}

async function pick_first_unary({ test, metadata }) {
  let first = null;
  for (let pick = 0; pick < PICKS; pick += 1) {
    const request = { response_size: 1, payload: zeros(1), fill_server_id: true };
    const { reply } = await unary(test, 'UnaryCall', request, metadata());
    assert(reply.server_id, 'the server does not say who it is');
    first = first ?? reply.server_id;
    assert.strictEqual(reply.server_id, first);
  }
}

/** What a report must say that a server was asked for. */
function assertReport(report, asked) {
  const { cpu_utilization: cpu, mem_utilization: memory, request_cost: cost, utilization } = report;
  const seen = { cpu, memory, cost: { ...cost }, utilization: { ...utilization } };
  const expected = {
    cpu: asked.cpu_utilization,
    memory: asked.memory_utilization,
    cost: asked.request_cost ?? {},
    utilization: asked.utilization,
  };
  assert.deepStrictEqual(seen, expected);
}

async function orca_per_rpc({ test, metadata }) {
  const asked = {
    cpu_utilization: 0.821,
    memory_utilization: 0.5847,
    request_cost: { cost: 3456.32 },
    utilization: { util: 0.30499 },
  };
  const request = { orca_per_query_report: asked };
  const { trailers } = await unary(test, 'UnaryCall', request, metadata());
  const [report] = trailers.get(LOAD_REPORT);
  assert(report, `no trailer ${LOAD_REPORT}`);
  assertReport(proto.xds.data.orca.v3.OrcaLoadReport.deserialize(report), asked);
}

async function orca_oob({ test, load, metadata }) {
  const both = [
    { cpu_utilization: 0.821, memory_utilization: 0.5847, utilization: { util: 0.30499 } },
    { cpu_utilization: 0.29309, memory_utilization: 0.2, utilization: { util: 0.2039 } },
  ];
  const watch = load.StreamCoreMetrics({ report_interval: { seconds: 1 } }, metadata());
  const reports = new Replies(watch);
  const call = test.FullDuplexCall(metadata());
  const replies = new Replies(call);
  for (const asked of both) {
    call.write({ orca_oob_report: asked, response_parameters: [{ size: 1 }] });
    checkReply(await replies.next(), 1);
    await waitForReport(reports, asked);
  }
  call.end();
  assert.strictEqual(await replies.next(), null);
  watch.on('error', () => {});
  watch.cancel();
}

/** Reads reports until one is as it should be: those before it may be older. */
async function waitForReport(reports, asked) {
  const end = Date.now() + REPORT_MILLISECONDS_MAX;
  for (;;) {
    const report = await reports.next();
    assert(report, 'the reports ended');
    try {
      return assertReport(report, asked);
    } catch (error) {
      if (Date.now() > end) throw error;
    }
  }
}

/** `anew`: each call on a channel of its own. */
async function soak(client, args, connect, anew) {
  const flag = (name) => Number(args[`soak_${name}`]);
  const end = Date.now() + flag('overall_timeout_seconds') * 1000;
  const failures = [];
  let done = 0;
  for (; done < flag('iterations') && Date.now() < end; done += 1) {
    const own = anew ? connect() : client;
    const request = { response_size: flag('response_size'), payload: zeros(flag('request_size')) };
    const began = Date.now();
    try {
      const { reply } = await unary(own.test, 'UnaryCall', request, own.metadata());
      checkReply(reply, flag('response_size'));
      const took = Date.now() - began;
      assert(took <= flag('per_iteration_max_acceptable_latency_ms'), `took ${took} ms`);
    } catch (error) {
      failures.push(`call ${done}: ${error.message}`);
    }
    if (anew) own.close();
    await sleep(Math.max(0, flag('min_time_ms_between_rpcs') - (Date.now() - began)));
  }
  console.error(`${done} calls, ${failures.length} failures`);
  assert(done === flag('iterations'), `${done} of ${flag('iterations')} calls in time`);
  assert(failures.length <= flag('max_failures'), failures.join('; '));
}

const rpc_soak = (client, args, connect) => soak(client, args, connect, false);
const channel_soak = (client, args, connect) => soak(client, args, connect, true);

module.exports = {
  empty_unary,
  large_unary,
  client_streaming,
  server_streaming,
  ping_pong,
  half_duplex,
  empty_stream,
  custom_metadata,
  status_code_and_message,
  special_status_message,
  unimplemented_method,
  unimplemented_service,
  cancel_after_begin,
  cancel_after_first_response,
  timeout_on_sleeping_server,
  pick_first_unary,
  orca_per_rpc,
  orca_oob,
  rpc_soak,
  channel_soak,
};
