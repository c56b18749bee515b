'use strict';

// Times the npm packages for parsers.py: reads {parser: [base 64 of a message, …]}, and writes the seconds that decoding
// each message took, and encoding what came of it: {parser: [[encode, decode], …]}. Run it in tests/interop.

const path = require('path');
const { createRequire } = require('module');
const load = createRequire(path.join(__dirname, '..', 'tests', 'interop', 'package.json'));
const EJSON = load('ejson');
const BinaryPack = load('binary-pack');
const msgpack = load('primus-msgpack');

const text = (codec) => ({ prepare: String, ...codec });
const CODECS = {
  json: text({ encode: JSON.stringify, decode: JSON.parse }),
  ejson: text({ encode: (value) => EJSON.stringify(value), decode: (data) => EJSON.parse(data) }),
  binary: { prepare: (data) => data, encode: BinaryPack.pack, decode: BinaryPack.unpack },
  msgpack: { prepare: (data) => data, encode: msgpack.encode, decode: msgpack.decode },
};

function best(act) {
  let count = 1;
  let least = Infinity;
  for (let round = 0; round < 3; ) {
    const start = process.hrtime.bigint();
    for (let index = 0; index < count; index++) act();
    const seconds = Number(process.hrtime.bigint() - start) / 1e9;
    if (seconds < 0.05 && round === 0) count *= 2;
    else {
      least = Math.min(least, seconds / count);
      round++;
    }
  }
  return least;
}

let input = '';
process.stdin.on('data', (chunk) => (input += chunk));
process.stdin.on('end', () => {
  const times = {};
  for (const [name, messages] of Object.entries(JSON.parse(input))) {
    const { prepare, encode, decode } = CODECS[name];
    times[name] = messages.map((encoded) => {
      const data = prepare(Buffer.from(encoded, 'base64'));
      const value = decode(data);
      const endless = name === 'binary' && data.length > 100000; // it takes minutes: the time grows with the square
      return [endless ? null : best(() => encode(value)), best(() => decode(data))];
    });
  }
  process.stdout.write(JSON.stringify(times));
});
