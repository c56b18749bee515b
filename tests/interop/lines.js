'use strict';

// The wire between pytest and a peer: one JSON object a line, commands on stdin, reports on stdout.
// stdout carries nothing else; whatever a package prints goes to stderr, which the harness keeps as well.

const path = require('path');

const started = Date.now();
let count = 0;

/** Write one report. `n` and `t` (ms since the start) make the order and the timing readable in a failure. */
function report(fields) {
  process.stdout.write(JSON.stringify({ n: ++count, t: Date.now() - started, ...fields }) + '\n');
}

/** A value as JSON can carry it: Buffers are told from strings, `undefined` from null. */
function portable(value) {
  if (value === undefined) return { $undefined: true };
  if (value instanceof ArrayBuffer) value = Buffer.from(value);
  if (ArrayBuffer.isView(value)) return { $base64: Buffer.from(value).toString('base64') };
  return value;
}

/** What a test wants to know of an error; it may come from another vm context, so no instanceof. */
function describeError(error) {
  if (error === null || typeof error !== 'object') return { message: String(error) };
  return { message: String(error.message), code: error.code };
}

/**
 * Run `commands[line.cmd](line)` for every line; end the process with stdin, so that no peer outlives its test.
 * A line with `ack` is acknowledged before and after, so that what it caused at once is known from the rest.
 */
function listen(commands) {
  let rest = '';
  process.stdin.setEncoding('utf8');
  process.stdin.on('data', (chunk) => {
    const lines = (rest + chunk).split('\n');
    rest = lines.pop();
    for (const text of lines) {
      if (text.trim() === '') continue;
      try {
        const line = JSON.parse(text);
        if (!Object.hasOwn(commands, line.cmd)) throw new Error(`unknown command ${JSON.stringify(line.cmd)}`);
        const acknowledge = (when) => {
          if (line.ack !== undefined) report({ ack: line.ack, when, internal: true });
        };
        acknowledge('before');
        commands[line.cmd](line);
        acknowledge('after');
      } catch (error) {
        report({ event: 'command-failed', line: text.slice(0, 200), error: String((error && error.stack) || error) });
      }
    }
  });
  process.stdin.on('end', () => process.exit(0));
  process.stdin.on('error', () => process.exit(0));
  process.stdout.on('error', () => process.exit(0));
  process.on('uncaughtException', (error) => {
    report({ event: 'uncaught', error: String((error && error.stack) || error) });
    process.exit(70);
  });
}

/** The options given as the first argument. */
function options() {
  return JSON.parse(process.argv[2] || '{}');
}

/** The package to run: happn-primus, or the `primus` that a folder beside this file has: "primus8" or "primus6". */
function load(folder) {
  return require(folder ? path.join(__dirname, folder, 'node_modules', 'primus') : 'happn-primus');
}

/** Whether an encoded message is a heartbeat, in either direction. */
function isHeartbeat(text) {
  return /^"primus::p[io]ng::/.test(String(text));
}

module.exports = { load, isHeartbeat, report, portable, describeError, listen, options };
