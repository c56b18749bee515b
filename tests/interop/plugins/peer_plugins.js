'use strict';

// A real server or client with primus-emitter and primus-rooms, or a Feathers 4 client, driven by JSON lines (lines.js).
//
// Options: role: "server", "client" or "feathers"; url, for a client; plugins: names of ["emitter", "rooms"];
// release: 8 for primus 8 in place of happn-primus; transforms: whether to mark strings, and to drop "drop".
// A listener of "sum" acknowledges with the sum of its arguments, one of "both" with (null, first argument).

const http = require('http');
const { createRequire } = require('module');
const { report, portable, describeError, listen, options } = require('../lines');

const given = options();
const local = createRequire(__filename);
const Primus = given.release === 8 ? createRequire(`${__dirname}/../primus8/`)('primus') : local('happn-primus');
const plugins = Object.fromEntries((given.plugins || ['emitter']).map((name) => [name, local(`primus-${name}`)]));

/** Report the events of a spark or client, and answer those that ask for it. */
function follow(emitter, fields) {
  emitter.on('sum', (a, b, done) => done(a + b));
  emitter.on('both', (value, done) => done(null, value));
  emitter.on('news', (...args) => report({ event: 'news', args: portable(args), ...fields }));
  emitter.on('data', (value) => report({ event: 'data', value: portable(value), ...fields }));
}

/** Mark the strings that come in and go out, and drop some. */
function transform(emitter) {
  const marked = (mark) => (packet) => {
    if (packet.data === 'drop') return false;
    if (typeof packet.data === 'string') packet.data += mark;
  };
  emitter.transform('incoming', marked('<'));
  emitter.transform('outgoing', marked('>'));
}

/** Ask the other end by an event with an acknowledgement. */
function ask(emitter) {
  return (line) => emitter().send(line.name, ...line.args, (...args) => report({ reply: 'ask', args: portable(args) }));
}

if (given.role === 'server') {
  const application = http.createServer();
  const primus = new Primus(application, { transformer: 'websockets', parser: 'JSON', plugin: plugins });
  if (given.transforms) transform(primus);
  let last;
  primus.on('connection', (spark) => {
    last = spark;
    follow(spark, { id: spark.id });
    report({ event: 'connection', id: spark.id });
  });
  listen({
    ask: ask(() => last),
    send: (line) => primus.send(line.name, ...line.args),
    join: (line) => last.join(line.room, () => report({ reply: 'join' })),
    all: (line) => primus.write(line.value),
    room: (line) => primus.room(line.room).write(line.value),
  });
  application.listen(0, '127.0.0.1', () => report({ event: 'ready', port: application.address().port }));
} else {
  const Socket = Primus.createSocket({ transformer: 'websockets', parser: 'JSON', plugin: plugins });
  const socket = new Socket(given.url);
  if (given.transforms) transform(socket);
  socket.on('open', () => report({ event: 'open' }));
  socket.on('error', (error) => report({ event: 'error', ...describeError(error) }));
  if (given.role === 'feathers') {
    const app = local('@feathersjs/feathers')();
    app.configure(local('@feathersjs/primus-client')(socket, { timeout: 3000 }));
    const messages = app.service('messages');
    messages.on('created', (value) => report({ event: 'created', value }));
    listen({
      service: (line) =>
        app
          .service(line.service || 'messages')
          [line.method](...line.args)
          .then((value) => report({ reply: 'service', value }))
          .catch((error) => report({ reply: 'service', error: { name: error.name, message: error.message } })),
    });
  } else {
    follow(socket, {});
    listen({
      ask: ask(() => socket),
      send: (line) => socket.send(line.name, ...line.args),
      write: (line) => socket.write(line.value),
    });
  }
  report({ event: 'ready' });
}
