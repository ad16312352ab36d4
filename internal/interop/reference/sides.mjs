// Two servers side by side, the reference and Gatehouse, on one PLC directory, and what is asked of both.
import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { PDS } from '@atproto/pds'
import { Secp256k1Keypair } from '@atproto/crypto'
import plc from '@did-plc/server'
import { adminPassword, start as startGatehouse } from '../server.mjs'

export const admin = 'Basic ' + Buffer.from(`admin:${adminPassword}`).toString('base64')
export const nobody = 'did:plc:aaaaaaaaaaaaaaaaaaaaaaaa'
export const jwtSecret = 'a secret that both servers have'

const freePort = () => new Promise((resolve) => {
  const s = createServer().listen(0, '127.0.0.1', () => {
    const { port } = s.address()
    s.close(() => resolve(port))
  })
})

// One server. Whatever is asked of it may be a function of it, for values that differ between the two.
class Side {
  constructor(name, url, code, stop) {
    Object.assign(this, { name, url, code, stop, accounts: {} })
  }

  // Answers as { status, headers, text, json }.
  async send(verb, path, { body, type, auth, headers } = {}) {
    const all = { ...headers }
    if (type) all['content-type'] = type
    if (auth) all.authorization = auth
    const res = await fetch(this.url + path, { method: verb, body, headers: all, redirect: 'manual' })
    const text = await res.text()
    let json
    try { json = JSON.parse(text) } catch { json = undefined }
    return { status: res.status, headers: res.headers, text, json }
  }

  // A method by its NSID; with a body, or as "POST NSID", it is a procedure.
  call(method, { params, body, auth } = {}) {
    const [nsid, verb = body === undefined ? 'GET' : 'POST'] = method.split(' ').reverse()
    const query = params ? '?' + new URLSearchParams(params) : ''
    return this.send(verb, `/xrpc/${nsid}${query}`, {
      body: body === undefined ? undefined : JSON.stringify(body), type: body === undefined ? undefined : 'application/json', auth,
    })
  }

  async signUp(name, more = {}) {
    const made = await this.call('com.atproto.server.createAccount', {
      body: { handle: `${name}.test`, email: `${name}@example.com`, password: 'password', ...more },
    })
    assert.equal(made.status, 200, made.text)
    const { did, accessJwt, refreshJwt } = made.json
    this.accounts[name] = { did, auth: `Bearer ${accessJwt}`, refresh: `Bearer ${refreshJwt}` }
  }
}

export async function start({ reference = {}, flags = [] } = {}) {
  const directory = plc.PlcServer.create({ db: plc.Database.mock(), port: 0 })
  const plcURL = `http://localhost:${(await directory.start()).address().port}`
  const data = await mkdtemp(join(tmpdir(), 'gatehouse-reference-'))
  const rotation = await Secp256k1Keypair.create({ exportable: true })
  const port = await freePort()
  const pds = await PDS.fromEnv({
    devMode: true, port, hostname: 'localhost', dataDirectory: data, blobstoreDiskLocation: join(data, 'blobs'),
    adminPassword, jwtSecret, serviceHandleDomains: ['.test'], didPlcUrl: plcURL,
    plcRotationKeyK256PrivateKeyHex: Buffer.from(await rotation.export()).toString('hex'),
    inviteRequired: false, disableSsrfProtection: true, modServiceUrl: 'https://mod.invalid', modServiceDid: nobody, ...reference,
  })
  await pds.start()
  const gatehouse = await startGatehouse(
    '-store', 'memory', '-plc', plcURL, '-jwt-secret', jwtSecret, '-mod-service', nobody,
    '-min-password-length', '1', '-password-memory', '64', '-password-time', '1', ...flags,
  )
  const ref = new Side('the reference', `http://localhost:${port}`, async (purpose, name) => {
    const found = await pds.ctx.accountManager.db.db.selectFrom('email_token').selectAll()
      .where('purpose', '=', purpose).where('did', '=', ref.accounts[name].did).executeTakeFirstOrThrow()
    return found.token
  }, () => pds.destroy())
  const our = new Side('Gatehouse', gatehouse.url, (purpose, name) => gatehouse.code(`${name}@example.com`, purpose), () => gatehouse.stop())
  return {
    ref, our, plcURL,
    async stop() {
      await our.stop()
      await ref.stop()
      await directory.destroy()
      await rm(data, { recursive: true, force: true })
    },
  }
}

// What may differ between any two servers is taken out of a text.
const plain = (text) => text
  .replaceAll(/did:plc:[a-z2-7]{24}/g, 'DID').replaceAll(/did:key:z\w+/g, 'KEY')
  .replaceAll(/\d{4}-\d\d-\d\dT[\d:.]+Z/g, 'TIME').replaceAll(/localhost-[a-z2-7]{5}-[a-z2-7]{5}/g, 'CODE')
  .replaceAll(/\b(?:[a-z2-7]{4}-){3}[a-z2-7]{4}\b/g, 'PASSWORD')

const sorted = (v) => {
  if (Array.isArray(v)) return v.map(sorted)
  if (v === null || typeof v !== 'object') return typeof v === 'string' && /^eyJ[\w.-]+$/.test(v) ? 'JWT' : v
  return Object.fromEntries(Object.keys(v).sort().filter((k) => k !== 'didDoc').map((k) => [k, sorted(v[k])]))
}

// The two lexicon validators word their complaints about an input each in its own way.
const complaint = / at \$|Invalid com\.\S+ params|Unexpected (end|token)|required but not provided|^Input|^Error: |^Params|^Malformed JSON|request body is expected|Wrong request encoding/

function view(r) {
  if (typeof r === 'number' || typeof r === 'string') return String(r)
  if (r.status < 400 && r.json) return plain(`${r.status} ${JSON.stringify(sorted(r.json))}`)
  if (!r.json?.error) return `${r.status} ${r.text.trim()}`
  const about = r.status === 400 && complaint.test(r.json.message) ? '(about the input)' : r.json.message
  const name = r.json.error === 'SyntaxError' ? 'InvalidRequest' : r.json.error
  return plain(`${r.status} ${name} ${about}`)
}

// A comparison of both sides. The table says of what is known to differ why; anything else that differs is a
// failure, and so is what doesn't differ any more.
export class Comparison {
  constructor({ ref, our }, known = {}) {
    Object.assign(this, { ref, our, known, differed: {}, asked: 0 })
  }

  async ask(label, f) {
    assert.ok(!(label in this.differed), `two questions are called ${label}`)
    const [a, b] = [view(await f(this.ref)), view(await f(this.our))]
    this.asked++
    if (a !== b) this.differed[label] = `\n  the reference: ${a}\n  Gatehouse:     ${b}`
  }

  // The same procedure or query with several inputs.
  async each(method, cases, { auth } = {}) {
    for (const [label, input] of Object.entries(cases)) {
      await this.ask(`${method.split('.').at(-1)}: ${label}`, (side) => {
        const given = typeof input === 'function' ? input(side) : input
        return side.call(method, { ...given, auth: given.auth ?? auth?.(side) })
      })
    }
  }

  done() {
    const unknown = Object.entries(this.differed).filter(([label]) => !(label in this.known)).map(([label, what]) => label + what)
    const alike = Object.keys(this.known).filter((label) => !(label in this.differed))
    assert.ok(this.asked > 0)
    assert.deepEqual({ unknown, alike }, { unknown: [], alike: [] }, unknown.join('\n'))
  }
}
