// Clients of the original that send back what they get. Usage: node primus_client.js PACKAGE PORT COUNT, in the folder of
// its node_modules.
const { createRequire } = require('module')
const load = createRequire(process.cwd() + '/')
const Socket = load(process.argv[2]).createSocket({ transformer: 'websockets', parser: 'JSON', pathname: '/primus' })

for (let number = 0; number < Number(process.argv[4]); number++) {
  const primus = new Socket(`http://127.0.0.1:${process.argv[3]}`, { strategy: false })
  primus.on('data', value => primus.write(value))
}
