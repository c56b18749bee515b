'use strict';

// A real client of Engine.IO without Primus around it, for the ways that the client of Primus never takes.
//
// Options: url, engine: {...options of the client...}, package: "primus8" or "primus6" for the Engine.IO of those.

const path = require('path');
const { report, listen, options } = require('./lines');

const given = options();
const library = require(path.join(__dirname, given.package || '', 'node_modules', 'engine.io-client'));
const socket = new library.Socket(given.url, { path: '/primus', timestampRequests: true, ...given.engine });

socket.on('open', () => report({ event: 'open' }));
socket.on('upgrade', (transport) => report({ event: 'upgrade', to: transport.name, internal: true }));
socket.on('message', (text) => report({ event: 'data', value: JSON.parse(text) }));
socket.on('error', (error) => report({ event: 'error', message: String(error.message) }));
socket.on('close', (reason) => report({ event: 'close', reason }));

listen({
  write: (line) => socket.send(JSON.stringify(line.value)),
  'write-many': (line) => {
    for (let index = 0; index < line.count; index++) socket.send(JSON.stringify({ [line.tag]: index }));
  },
  end: () => socket.close(),
});

report({ event: 'ready', internal: true });
