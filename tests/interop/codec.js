'use strict';

// The codecs of the npm packages, driven by JSON lines: {parser, values} is answered by {encoded}, {parser, encoded} by
// {values}. What is encoded is base 64 of a frame's bytes. A value that JSON has not is an array with its kind:
// ["date", ms], ["bytes", base64], ["number", text], ["regexp", source, flags], ["list", …], ["object", [key, value]…].

const readline = require('readline');
const EJSON = require('ejson');
const BinaryPack = require('binary-pack');
const msgpack = require('primus-msgpack');

const CODECS = {
  json: { encode: JSON.stringify, decode: (data) => JSON.parse(String(data)) },
  ejson: { encode: (value) => EJSON.stringify(value), decode: (data) => EJSON.parse(String(data)) },
  binary: { encode: (value) => BinaryPack.pack(value), decode: (data) => BinaryPack.unpack(data) },
  msgpack: { encode: (value) => msgpack.encode(value), decode: (data) => msgpack.decode(data) },
};

function make(told) {
  if (!Array.isArray(told)) return told;
  const [kind, ...rest] = told;
  if (kind === 'date') return new Date(rest[0]);
  if (kind === 'bytes') return Buffer.from(rest[0], 'base64');
  if (kind === 'number') return Number(rest[0]);
  if (kind === 'regexp') return new RegExp(rest[0], rest[1]);
  if (kind === 'list') return rest.map(make);
  return Object.fromEntries(rest.map(([key, value]) => [key, make(value)]));
}

function tell(value) {
  if (value === undefined) return ['undefined'];
  if (typeof value === 'number') return ['number', Object.is(value, -0) ? '-0' : String(value)];
  if (value instanceof Date) return ['date', value.getTime()];
  if (value instanceof Uint8Array) return ['bytes', Buffer.from(value).toString('base64')];
  if (value instanceof RegExp) return ['regexp', value.source, value.flags];
  if (Array.isArray(value)) return ['list', ...value.map(tell)];
  if (value !== null && typeof value === 'object') {
    return ['object', ...Object.entries(value).map(([key, inner]) => [key, tell(inner)])];
  }
  return value;
}

readline.createInterface({ input: process.stdin }).on('line', (line) => {
  const { parser, values, encoded } = JSON.parse(line);
  const codec = CODECS[parser];
  const answer =
    encoded === undefined
      ? { encoded: values.map((value) => Buffer.from(codec.encode(make(value))).toString('base64')) }
      : { values: encoded.map((data) => tell(codec.decode(Buffer.from(data, 'base64')))) };
  process.stdout.write(JSON.stringify(answer) + '\n');
});
