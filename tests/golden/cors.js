'use strict';
// Ask servers of the original, one for each set of options on standard input, and print what each answered.
// In: {"servers": [{options}, ...], "requests": [[method, path, {headers}], ...]}; out: a list of lists of answers.
const http = require('http');
const path = require('path');
const Primus = require(path.resolve(process.argv[2], 'node_modules', 'happn-primus'));

function ask(port, [method, path, headers]) {
  return new Promise((resolve, reject) => {
    const options = { port, method, path, headers, agent: false, host: '127.0.0.1' };
    const request = http.request(options, response => {
      let body = '';
      response.setEncoding('utf8');
      response.on('data', chunk => { body += chunk; });
      response.on('end', () => resolve({ status: response.statusCode, headers: response.headers, body }));
    });
    request.on('upgrade', (response, socket) => {
      socket.destroy();
      resolve({ status: response.statusCode, headers: response.headers, body: '' });
    });
    request.on('error', reject);
    request.end();
  });
}

async function serve(options, requests) {
  const server = http.createServer();
  const { authorization, ...primusOptions } = options;
  const primus = new Primus(server, { transformer: 'websockets', ...primusOptions });
  if (authorization) primus.authorize((request, done) => done({ statusCode: 401, message: 'no' }));
  await new Promise(resolve => server.listen(0, '127.0.0.1', resolve));
  const answers = [];
  for (const request of requests) answers.push(await ask(server.address().port, request));
  primus.destroy({ timeout: 0 });
  return answers;
}

async function main() {
  let input = '';
  for await (const chunk of process.stdin) input += chunk;
  const { servers, requests } = JSON.parse(input);
  const table = [];
  for (const options of servers) table.push(await serve(options, requests));
  process.stdout.write(JSON.stringify(table), () => process.exit(0));
}

main().catch(error => { console.error(error); process.exit(1); });
