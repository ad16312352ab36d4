// Tests of goat, the network's command-line client: it signs up, manages an account and its DID,
// and lists the accounts of a server. The released program runs unmodified, with a temporary home
// directory, and talks only to this server.
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { promisify } from 'node:util'
import { asAdmin, start, verified } from './server.mjs'

const binary = process.env.GOAT_BIN
if (!binary) throw new Error('GOAT_BIN must be the path of goat')
const run = promisify(execFile)

describe('goat', () => {
  let server, home, alice, bob
  before(async () => {
    server = await start('-store', 'bolt')
    home = await mkdtemp(join(tmpdir(), 'gatehouse-goat-'))
  })
  after(async () => {
    await server.stop()
    await rm(home, { recursive: true, force: true })
  })

  // Runs goat and returns what it prints. It keeps its tokens in its home directory.
  const goat = async (...args) => {
    const { stdout } = await run(binary, args, { timeout: 60_000, env: {
      HOME: home, XDG_STATE_HOME: home, ATP_PLC_HOST: `${server.url}/plc`, ATP_RELAY_HOST: server.url, ATP_PDS_HOST: server.url,
    } })
    return stdout.trim()
  }
  const fails = (words, ...args) => assert.rejects(goat(...args), (err) => {
    assert.match(`${err.stdout}${err.stderr}`, words)
    return true
  })
  const signUp = async (name) => {
    const out = await goat('account', 'create', '--handle', `${name}.test`, '--password', 'correct horse', '--email', `${name}@example.com`)
    return out.match(/^DID: (did:plc:[a-z2-7]{24})$/m)[1]
  }
  // goat's commands for relays work with any server. Later versions have the same ones for a PDS.
  const listed = async () => Object.fromEntries((await goat('relay', 'account', 'list')).split('\n').map((line) => line.split('\t').slice(0, 2)))
  const status = async (did) => (await goat('relay', 'account', 'status', did)).split('\t')

  test('describes the server', async () => {
    assert.deepEqual(JSON.parse(await goat('pds', 'describe', server.url)).availableUserDomains, ['.test'])
  })

  test('signs up and logs in', async () => {
    alice = await signUp('alice')
    bob = await signUp('bob')
    await fails(/HandleNotAvailable/, 'account', 'create', '--handle', 'alice.test', '--password', 'correct horse', '--email', 'a@example.com')
    await fails(/AuthenticationRequired/, 'account', 'login', '-u', 'alice.test', '-p', 'wrong')
    await goat('account', 'login', '-u', 'alice.test', '-p', 'correct horse')
    const out = await goat('account', 'status')
    assert.match(out, new RegExp(`^DID: ${alice}$`, 'm'))
    assert.equal(JSON.parse(out.slice(out.indexOf('{'))).activated, true)
  })

  test('gets a service token', async () => {
    const token = await goat('account', 'service-auth', '--aud', 'did:web:service.example.com', '--lxm', 'com.example.thing.doIt')
    assert.equal(await verified(`${server.url}/plc`, 'did:web:service.example.com', 'com.example.thing.doIt', token), alice)
  })

  test('changes the handle', async () => {
    await goat('account', 'update-handle', 'alison.test')
    const data = JSON.parse(await goat('plc', 'data', alice))
    assert.deepEqual(data.alsoKnownAs, ['at://alison.test'])
    await fails(/HandleNotAvailable/, 'account', 'update-handle', 'bob.test')
  })

  test('adds a rotation key', async () => {
    const recommended = JSON.parse(await goat('account', 'plc', 'recommended'))
    assert.deepEqual(recommended.alsoKnownAs, ['at://alison.test'])
    await goat('account', 'plc', 'request-token')
    const code = await server.code('alice@example.com', 'plc_operation')
    const key = 'did:key:zQ3shqwJEJyMBsBXCWyCBpUBMqxcon9oHB7mCvx4sSpMdLJwc'
    await goat('account', 'plc', 'add-rotation-key', '--token', code, '--first', key)
    assert.deepEqual(JSON.parse(await goat('account', 'plc', 'current')).rotationKeys, [key, ...recommended.rotationKeys])
    await fails(/InvalidToken/, 'account', 'plc', 'add-rotation-key', '--token', code, recommended.verificationMethods.atproto)
  })

  test('lists accounts, and tells their status', async () => {
    assert.deepEqual(await listed(), { [alice]: 'active', [bob]: 'active' })
    await goat('account', 'deactivate')
    assert.deepEqual(await listed(), { [alice]: 'deactivated', [bob]: 'active' })
    assert.deepEqual(await status(alice), [alice, 'deactivated'])
    await goat('account', 'activate')
    assert.deepEqual(await status(alice), [alice, 'active'])
    const took = await fetch(`${server.url}/xrpc/com.atproto.admin.updateSubjectStatus`, {
      method: 'POST', headers: { ...asAdmin.headers, 'content-type': 'application/json' },
      body: JSON.stringify({ subject: { $type: 'com.atproto.admin.defs#repoRef', did: bob }, takedown: { applied: true } }),
    })
    assert.equal(took.status, 200)
    assert.deepEqual(await listed(), { [alice]: 'active', [bob]: 'takendown' })
    await fails(/RepoNotFound/, 'relay', 'account', 'status', 'did:plc:aaaaaaaaaaaaaaaaaaaaaaaa')
  })

  test('says what is not served here', async () => {
    await fails(/com\.atproto\.repo\.listMissingBlobs isn't served here/, 'account', 'missing-blobs')
  })
})
