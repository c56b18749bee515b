// The same echo or broadcast server on the original. Usage: node primus_server.js PACKAGE MODE [TRANSFORMER], in the
// folder of its node_modules.
const http = require('http')
const { createRequire } = require('module')
const load = createRequire(process.cwd() + '/')
const Primus = load(process.argv[2])
const mode = process.argv[3]
const transformer = process.argv[4] || 'websockets'

const server = http.createServer()
const primus = new Primus(server, { transformer, parser: 'JSON', pathname: '/primus' })
primus.on('connection', spark => {
  spark.on('data', mode === 'echo' ? value => spark.write(value) : value => primus.write(value))
})
server.listen({ host: '127.0.0.1', port: 0, backlog: 1024 }, () => {
  console.log('READY', server.address().port, process.pid)
})
