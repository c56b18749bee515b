'use strict';

// A real server, by default that of happn-primus, driven by JSON lines (lines.js).
//
// Options: host, port, mode ("record" | "echo"), hello (a value written to every new spark), mutePongs,
//   package: "primus8" or "primus6" in place of happn-primus; their heartbeats are muted like pongs,
//   primus: {...options of the Primus constructor...},
//   authorization: {"token": t} lets pass whoever's query has token=t, {"accept": true} everyone, otherwise nobody;
//   a refusal answers with {status, message, authenticate} of the same object, after `delay` ms.
//   layer: {status, message} of a layer, behind the others, that refuses what has no token in its query.
// Reports: see `report(` below; replies to commands have `reply` in place of `event`.

const http = require('http');
const { load, isHeartbeat, report, portable, describeError, listen, options } = require('./lines');

const given = options();
const Primus = load(given.package);
let mutePongs = Boolean(given.mutePongs);

const application = http.createServer((request, response) => {
  // Requests outside the pathname are the application's.
  response.writeHead(404, { 'Content-Type': 'text/plain' });
  response.end('not found\n');
});
const primus = new Primus(application, { transformer: 'websockets', parser: 'JSON', ...given.primus });

if (given.authorization) {
  const rule = given.authorization;
  primus.authorize((request, done) => {
    report({ event: 'authorization', url: request.url });
    setTimeout(() => {
      if (rule.accept || (rule.token !== undefined && request.query.token === rule.token)) return done();
      const refusal = new Error(rule.message || 'no');
      if (rule.status) refusal.statusCode = rule.status;
      if (rule.authenticate) refusal.authenticate = rule.authenticate;
      done(refusal);
    }, rule.delay || 0);
  });
}

if (given.layer) {
  const add = primus.before ? 'before' : 'use'; // its name since primus 7
  primus[add]('layer', (request, response, next) => {
    if (request.query.token) return next();
    const refusal = new Error(given.layer.message);
    if (given.layer.status) refusal.statusCode = given.layer.status;
    next(refusal);
  });
}

// The close code of the WebSocket is seen only below Primus: look at every socket it is about to be given.
const service = primus.transformer.service;
const upgrade = service.handleUpgrade;
const overWebSockets = !given.primus || (given.primus.transformer || 'websockets') === 'websockets';
if (overWebSockets) service.handleUpgrade = function handleUpgrade(request, socket, head, accepted) {
  return upgrade.call(this, request, socket, head, (carrier) => {
    carrier.on('close', (code, reason) => report({ event: 'ws-close', code, reason: String(reason || '') }));
    carrier.on('ping', (payload) => report({ event: 'ws-ping', payload: String(payload || '') }));
    carrier.on('pong', (payload) => report({ event: 'ws-pong', payload: String(payload || '') }));
    request.carrier = carrier;
    const send = carrier.send;
    carrier.send = function muted(message, ...rest) {
      if (!mutePongs || !isHeartbeat(message)) return send.call(this, message, ...rest);
      rest.filter((argument) => typeof argument === 'function').forEach((sent) => sent());
    };
    accepted(carrier);
  });
};

// Healthy TCP, silent server: the client must notice by itself.
const sendPong = primus.Spark.prototype.sendPong; // of happn-primus only
Object.defineProperty(primus.Spark.prototype, 'sendPong', {
  value(time) {
    if (!mutePongs) sendPong.call(this, time);
  },
});

let last; // the spark of the latest connection, which may have ended

primus.on('connection', (spark) => {
  const id = spark.id;
  last = spark;
  const { 'primus::req::backup': _, ...headers } = spark.headers;
  const { address, readyState } = spark;
  report({ event: 'connection', id, state: readyState, query: { ...spark.query }, headers, address });
  spark.on('data', (value, raw) => {
    const short = typeof raw === 'string' && raw.length <= 4096;
    report({ event: 'data', id, state: spark.readyState, value: portable(value), raw: short ? raw : undefined });
    if (given.mode === 'echo') spark.write(value);
  });
  spark.on('heartbeat', () => report({ event: 'heartbeat', id, state: spark.readyState }));
  spark.on('incoming::pong', (time) => report({ event: 'client-pong', id, time: portable(time) }));
  spark.on('outgoing::ping', (time) => report({ event: 'server-ping', id, time }));
  spark.on('incoming::ping', (time) => report({ event: 'ping', id, time: portable(time) }));
  spark.on('outgoing::pong', (time) => report({ event: 'pong', id, time }));
  spark.on('readyStateChange', () => report({ event: 'readyStateChange', id, state: spark.readyState }));
  spark.on('error', (error) => report({ event: 'error', id, state: spark.readyState, ...describeError(error) }));
  spark.on('end', () => report({ event: 'end', id, state: spark.readyState }));
  if ('hello' in given) spark.write(given.hello);
});
primus.on('disconnection', (spark) => report({ event: 'disconnection', id: spark.id, state: spark.readyState }));
primus.on('heartbeat-skipped', (skipped) => report({ event: 'heartbeat-skipped', count: skipped }));
primus.on('flatline', (skipped) => report({ event: 'flatline', count: skipped }));
primus.on('close', () => report({ event: 'close' }));
primus.on('log', (level, ...rest) => report({ event: 'log', level, text: rest.map(String).join(' ') }));

/** The sparks a command is for: the one named by its id, or all of them. */
function targets(line) {
  const chosen = [];
  primus.forEach((spark, id) => {
    if (line.id === undefined || line.id === id) chosen.push(spark);
  });
  if (line.id !== undefined && chosen.length === 0) throw new Error(`no spark ${line.id}`);
  return chosen;
}

function finish(line, how) {
  for (const spark of targets(line)) spark.end('value' in line ? line.value : undefined, how);
}

listen({
  write: (line) => targets(line).forEach((spark) => spark.write(line.value)),
  'write-last': (line) => report({ reply: 'write-last', result: last.write(line.value) }),
  broadcast: (line) => primus.write(line.value),
  'write-many': (line) => {
    for (const spark of targets(line)) {
      for (let index = 0; index < line.count; index++) spark.write({ [line.tag]: index });
    }
  },
  // Frames as they are, past the parser: for what a real server never says.
  raw: (line) => targets(line).forEach((spark) => spark.emit('outgoing::data', line.text)),
  binary: (line) => targets(line).forEach((spark) => spark.emit('outgoing::data', Buffer.from(line.base64, 'base64'))),
  'ws-ping': (line) => targets(line).forEach((spark) => spark.request.carrier.ping(line.payload || '')),
  end: (line) => finish(line),
  'end-reconnect': (line) => finish(line, { reconnect: true }),
  // The connection is lost: no close frame.
  drop: (line) => targets(line).forEach((spark) => spark.request.socket.destroy()),
  'mute-pongs': (line) => {
    mutePongs = line.on !== false;
  },
  sparks: () => report({ reply: 'sparks', ids: targets({}).map((spark) => spark.id), connected: primus.connected }),
  destroy: (line) => primus.destroy(line.options || {}, () => report({ reply: 'destroy' })),
  // No more commands and connections: the process ends by itself once nothing is left that could happen.
  leave: () => {
    application.close();
    process.stdin.unref();
  },
});

application.on('error', (error) => {
  report({ event: 'listen-failed', ...describeError(error) });
  process.exit(71);
});
application.listen(given.port || 0, given.host || '127.0.0.1', () => {
  report({ event: 'ready', port: application.address().port });
});
