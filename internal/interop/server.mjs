// Starts and stops examples/standalone for a test.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'

const binary = process.env.GATEHOUSE_BIN
if (!binary) throw new Error('GATEHOUSE_BIN must be the path of the built examples/standalone')
const verifier = process.env.VERIFY_BIN
if (!verifier) throw new Error('VERIFY_BIN must be the path of the built verify')

export const adminPassword = 'admin-password'

// Patterns for the subjects of e-mails with a code, by the reference server's names for their
// purposes (and sign_in, which it lacks).
const subjects = {
  confirm_email: /^Confirm your e-mail address/,
  delete_account: /^Delete your/,
  plc_operation: /^Change the identity of your/,
  reset_password: /^Reset your/,
  sign_in: /sign-in code$/,
  update_email: /^Change your e-mail address/,
}

// Starts examples/standalone with flags.
export function start(...flags) {
  return run((data, mail) => spawn(binary, [
    '-addr', '127.0.0.1:0', '-data', data, '-mail', `dir:${mail}`,
    '-admin-password', adminPassword, '-rate-limits', 'off', ...flags,
  ], { stdio: ['ignore', 'pipe', 'pipe'] }))
}

// Starts ./server, which fetches what is below an origin of OAuth clients from another URL.
export function startForClients(documents, origin) {
  const program = process.env.SERVER_BIN
  if (!program) throw new Error('SERVER_BIN must be the path of the built server')
  return run((data, mail) => spawn(program, [mail, origin, documents], { stdio: ['ignore', 'pipe', 'pipe'] }))
}

async function run(launch) {
  const data = await mkdtemp(join(tmpdir(), 'gatehouse-interop-'))
  const mail = join(data, 'mail')
  const child = launch(data, mail)
  let log = ''
  child.stderr.on('data', (chunk) => { log += chunk })
  const lines = createInterface({ input: child.stdout })
  const [first] = await Promise.race([
    once(lines, 'line'),
    once(child, 'exit').then(() => { throw new Error(`the server ended: ${log}`) }),
  ])
  const url = first.split('listening on ')[1]
  return {
    url,
    // The identifier of the authorization server: in URLs of its own the server says localhost.
    issuer: url.replace('127.0.0.1', 'localhost'),
    log: () => log,
    // Waits for an e-mail for a purpose to an address and returns its code, each only once. E-mails
    // are recognized by their subjects, since a notice or another code may arrive at any time.
    async code(address, purpose) {
      const subject = subjects[purpose]
      if (!subject) throw new Error(`no e-mail has the purpose ${purpose}`)
      for (let tries = 0; tries < 200; tries++) {
        const files = (await readdir(mail).catch(() => [])).filter((f) => f.includes(address) && f.endsWith('.eml')).sort()
        for (const name of files.reverse()) {
          const file = join(mail, name)
          const text = await readFile(file, 'utf8')
          if (!subject.test(text.match(/^Subject: (.*?)\r?$/m)?.[1])) continue
          await rm(file)
          return text.match(/^([A-Z2-7]{5}-[A-Z2-7]{5})\r?$/m)[1]
        }
        await new Promise((resolve) => setTimeout(resolve, 50))
      }
      throw new Error(`no e-mail to ${address} with a subject of ${subject}`)
    },
    async stop() {
      child.kill('SIGTERM')
      if (child.exitCode === null) await once(child, 'exit')
      await rm(data, { recursive: true, force: true })
      if (child.exitCode !== 0) throw new Error(`the server ended with ${child.exitCode}: ${log}`)
    },
  }
}

// The request options that authenticate as the admin.
export const asAdmin = {
  encoding: 'application/json',
  headers: { authorization: 'Basic ' + Buffer.from(`admin:${adminPassword}`).toString('base64') },
}

// Returns the DID that a service token proves, as verified by indigo, which looks the issuer up in
// a PLC directory.
export async function verified(plcURL, audience, lxm, token) {
  const child = spawn(verifier, [plcURL, audience, lxm], { timeout: 30_000 })
  let out = '', err = ''
  child.stdout.on('data', (chunk) => { out += chunk })
  child.stderr.on('data', (chunk) => { err += chunk })
  child.stdin.end(token)
  const [code] = await once(child, 'close')
  if (code !== 0) throw new Error(`not verified: ${err}`)
  return out.trim()
}
