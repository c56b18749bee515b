'use strict';

// A real client without Primus around it, for the ways that the client of Primus never takes: of Engine.IO, or of a raw
// WebSocket of SockJS.
//
// Options: url, engine: {...options of the client...}, null for the raw WebSocket, package: "primus8" or "primus6" for
// the packages of those.

const path = require('path');
const { report, listen, options } = require('./lines');

const given = options();
const load = (name) => require(path.join(__dirname, given.package || '', 'node_modules', name));

function raw() {
  const WebSocket = load('ws');
  const socket = new WebSocket(`${given.url.replace('http', 'ws')}/primus/websocket`);
  socket.on('close', (code, reason) => report({ event: 'close', reason: String(reason) }));
  return socket;
}

function engine() {
  const socket = new (load('engine.io-client').Socket)(given.url, {
    path: '/primus',
    timestampRequests: true,
    ...given.engine,
  });
  socket.on('upgrade', (transport) => report({ event: 'upgrade', to: transport.name, internal: true }));
  socket.on('close', (reason) => report({ event: 'close', reason }));
  return socket;
}

const socket = given.engine ? engine() : raw();
socket.on('open', () => report({ event: 'open' }));
socket.on('message', (text) => report({ event: 'data', value: JSON.parse(text) }));
socket.on('error', (error) => report({ event: 'error', message: String(error.message) }));

listen({
  write: (line) => socket.send(JSON.stringify(line.value)),
  'write-many': (line) => {
    for (let index = 0; index < line.count; index++) socket.send(JSON.stringify({ [line.tag]: index }));
  },
  end: () => socket.close(),
});

report({ event: 'ready', internal: true });
