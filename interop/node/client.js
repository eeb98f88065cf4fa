// The client of gRPC's official interop cases on grpc-js, with the official flags: one case by its
// name. Exit code 0 means that it passed.
'use strict';

const fs = require('fs');

const cases = require('./cases.js');
const { flags, grpc, proto } = require('./shared.js');

const args = flags({
  server_host: 'localhost',
  server_port: '10000',
  server_host_override: '',
  test_case: '',
  use_tls: 'false',
  use_test_ca: 'false',
  ca_file: '',
  // Ignored: the cases that choose a policy by it read what the policy would read.
  service_config_json: '',
  additional_metadata: '',
  soak_iterations: '10',
  soak_max_failures: '0',
  soak_per_iteration_max_acceptable_latency_ms: '1000',
  soak_overall_timeout_seconds: '10',
  soak_min_time_ms_between_rpcs: '0',
  soak_request_size: '271828',
  soak_response_size: '314159',
});

/** What every call carries. */
function metadata() {
  const sent = new grpc.Metadata();
  for (const pair of args.additional_metadata.split(';').filter(Boolean)) {
    const colon = pair.indexOf(':');
    if (colon < 0) throw new Error(`--additional_metadata: "${pair}" is not key:value`);
    sent.add(pair.slice(0, colon), pair.slice(colon + 1));
  }
  return sent;
}

/** All stubs on one new channel. */
function connect() {
  const options = { 'grpc.use_local_subchannel_pool': 1 };
  if (args.server_host_override) {
    options['grpc.ssl_target_name_override'] = args.server_host_override;
    options['grpc.default_authority'] = args.server_host_override;
  }
  let credentials = grpc.credentials.createInsecure();
  if (args.use_tls === 'true') {
    const ca = args.use_test_ca === 'true' ? fs.readFileSync(args.ca_file) : null;
    credentials = grpc.credentials.createSsl(ca);
  }
  const target = `${args.server_host}:${args.server_port}`;
  const { TestService, UnimplementedService } = proto.grpc.testing;
  const test = new TestService(target, credentials, options);
  const shared = { ...options, channelOverride: test.getChannel() };
  return {
    test,
    missing: new UnimplementedService(target, credentials, shared),
    load: new proto.xds.service.orca.v3.OpenRcaService(target, credentials, shared),
    metadata,
    close: () => test.close(),
  };
}

async function main() {
  const run = cases[args.test_case];
  if (!run) throw new Error('there is no such case');
  const client = connect();
  await run(client, args, connect);
  client.close();
}

main().then(
  () => process.exit(0),
  (error) => {
    console.error(`${args.test_case}: ${error.stack}`);
    process.exit(1);
  },
);
