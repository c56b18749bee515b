'use strict';

// A real client, by default that of happn-primus, driven by JSON lines (lines.js).
//
// Options: url, primus: {...options of the client...}, library: {...options of Primus.createSocket...},
//   package: "primus8" or "primus6" in place of happn-primus,
//   mutePings: swallow every heartbeat (the client believes that it sent it), manual: do not open by itself,
//   network: give the client a browser's `navigator` and `window`, so that the command `network` can tell it that the
//   network is gone or back.
// Every public event is reported in order under its own name with `state` (readyState); what happens below Primus is
// reported too, marked `internal`, so that a list of the public ones stays exact.

const http = require('http');
const { load, report, portable, describeError, listen, options } = require('./lines');

const given = options();
const Primus = load(given.package);
let mutePings = Boolean(given.mutePings);

// The client looks for these two while it is compiled, in a context that is given the globals of this one.
const navigator = { onLine: true };
const networkHandlers = { online: [], offline: [] };
if (given.network) {
  const window = { addEventListener: (name, handler) => networkHandlers[name].push(handler), removeEventListener() {} };
  Object.defineProperty(globalThis, 'navigator', { value: navigator, enumerable: true, configurable: true });
  Object.defineProperty(globalThis, 'window', { value: window, enumerable: true, configurable: true });
}

const Socket = Primus.createSocket({ transformer: 'websockets', parser: 'JSON', ...given.library });

const write = Socket.prototype._write;
Socket.prototype._write = function muted(value) {
  if (mutePings && typeof value === 'string' && /^primus::p[io]ng::/.test(value)) return true;
  return write.call(this, value);
};

const socket = new Socket(given.url, { ...given.primus, manual: true });

function tell(event, fields) {
  report({ event, state: socket.readyState, ...fields });
}

function attempt(details) {
  const { attempt: number, retries, scheduled, start, duration, min, max, factor, backoff } = details;
  return { attempt: number, retries, scheduled, start, duration, min, max, factor, backoff };
}

for (const name of ['open', 'close', 'end', 'timeout', 'online', 'offline', 'destroy']) {
  socket.on(name, () => tell(name));
}
socket.on('data', (value, raw) => {
  const short = typeof raw === 'string' && raw.length <= 4096;
  tell('data', { value: portable(value), raw: short ? raw : undefined });
});
socket.on('error', (error) => tell('error', describeError(error)));
socket.on('readyStateChange', (to) => tell('readyStateChange', { to }));
for (const name of ['reconnect scheduled', 'reconnect', 'reconnected']) {
  socket.on(name, (details) => tell(name, attempt(details)));
}
for (const name of ['reconnect timeout', 'reconnect failed']) {
  socket.on(name, (error, details) => tell(name, { ...attempt(details), error: describeError(error) }));
}

function below(event, fields) {
  report({ event, internal: true, ...fields });
}
socket.on('outgoing::ping', (time) => below('ping', { time, muted: mutePings }));
socket.on('incoming::ping', (time) => below('server-ping', { time, muted: mutePings }));
socket.on('incoming::pong', (time) => below('pong', { time, latency: socket.latency }));
socket.on('outgoing::url', () => below('connecting'));

// After Primus's own listener, so that socket.socket is this attempt's WebSocket.
socket.on('outgoing::open', () => {
  const carrier = socket.socket;
  if (!carrier || !carrier.on) return; // that of SockJS tells nothing
  if (!carrier.prependListener) {
    carrier.on('upgrade', (transport) => below('upgrade', { to: transport.name })); // of Engine.IO
    return;
  }
  carrier.prependListener('close', (code, reason) => below('ws-close', { code, reason: String(reason || '') }));
  carrier.on('pong', (payload) => below('ws-pong', { payload: String(payload || '') }));
  carrier.on('unexpected-response', (request, response) => {
    // A listener takes over what ws does without one: fail the connection at once. The body is read besides.
    const chunks = [];
    response.on('data', (chunk) => chunks.push(chunk));
    const done = () => {
      const { statusCode: status, headers } = response;
      below('unexpected-response', { status, headers, body: Buffer.concat(chunks).toString('utf8') });
    };
    response.on('end', done);
    response.on('error', done);
    carrier.emit('error', new Error(`unexpected server response (${response.statusCode})`));
  });
});

listen({
  write: (line) => report({ reply: 'write', result: socket.write(line.value) }),
  'write-many': (line) => {
    for (let index = 0; index < line.count; index++) socket.write({ [line.tag]: index });
  },
  // Frames as they are, past the parser: for what a real client never says.
  raw: (line) => socket.emit('outgoing::data', line.text),
  binary: (line) => socket.emit('outgoing::data', Buffer.from(line.base64, 'base64')),
  'ws-ping': (line) => socket.socket.ping(line.payload || ''),
  end: (line) => socket.end('value' in line ? line.value : undefined),
  open: () => socket.open(),
  id: () => socket.id((id) => report({ reply: 'id', id })),
  state: () => {
    const { readyState: state, latency, buffer, online } = socket;
    report({ reply: 'state', state, latency, queued: buffer.length, online });
  },
  'mute-pings': (line) => {
    mutePings = line.on !== false;
  },
  // The connection is lost: no close frame.
  drop: () => socket.socket._socket.destroy(),
  destroy: () => report({ reply: 'destroy', result: socket.destroy() }),
  network: (line) => {
    if (!given.network) throw new Error('needs the option `network`');
    navigator.onLine = line.on !== false;
    networkHandlers[navigator.onLine ? 'online' : 'offline'].forEach((handler) => handler());
  },
  // No more commands: the process ends by itself once nothing is left that could happen.
  leave: () => process.stdin.unref(),
  // A plain request to the same server.
  get: (line) => {
    const request = http.get(new URL(line.path, given.url), { agent: false }, (response) => {
      const chunks = [];
      response.on('data', (chunk) => chunks.push(chunk));
      response.on('end', () => {
        const { statusCode: status, headers } = response;
        report({ reply: 'get', status, headers, body: Buffer.concat(chunks).toString('utf8') });
      });
    });
    request.on('error', (error) => report({ reply: 'get', error: describeError(error) }));
  },
});

report({ event: 'ready', internal: true });
if (!given.manual) socket.open();
