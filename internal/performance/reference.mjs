// Runs the reference server, with a DID directory in the same process, until standard input ends. It
// is run in a directory that has its packages (see reference.go), and its argument is where it keeps
// its data.
import { createServer } from 'node:net'
import { join } from 'node:path'
import { PDS } from '@atproto/pds'
import { Secp256k1Keypair } from '@atproto/crypto'
import plc from '@did-plc/server'

const data = process.argv.at(-1)
const port = await new Promise((resolve) => {
  const s = createServer().listen(0, '127.0.0.1', () => {
    const { port } = s.address()
    s.close(() => resolve(port))
  })
})
const directory = plc.PlcServer.create({ db: plc.Database.mock(), port: 0 })
const plcURL = `http://localhost:${(await directory.start()).address().port}`
const rotation = await Secp256k1Keypair.create({ exportable: true })
const pds = await PDS.fromEnv({
  devMode: true, port, hostname: 'localhost', dataDirectory: data, blobstoreDiskLocation: join(data, 'blobs'),
  adminPassword: 'admin-password', jwtSecret: 'the secret of the reference', serviceHandleDomains: ['.test'], didPlcUrl: plcURL,
  plcRotationKeyK256PrivateKeyHex: Buffer.from(await rotation.export()).toString('hex'),
  inviteRequired: false, disableSsrfProtection: true, rateLimitsEnabled: false,
})
await pds.start()
console.log(JSON.stringify({ addr: `127.0.0.1:${port}`, host: `localhost:${port}` }))
process.stdin.on('end', () => process.exit(0)).resume()
