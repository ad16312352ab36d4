// What today's clients do with an existing account: e-mail, handle, status, service auth, and a
// move to another server, with a real PLC directory.
import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { AtpAgent, XRPCError, lexicons } from '@atproto/api'
import plc from '@did-plc/server'
import { asAdmin, start, verified } from './server.mjs'

function valid(nsid, result) {
  assert.equal(result.success, true)
  lexicons.assertValidXrpcOutput(nsid, result.data)
  return result.data
}

const refused = (status, error) => (err) => {
  assert.ok(err instanceof XRPCError, String(err))
  assert.deepEqual([err.status, err.error], [status, error])
  return true
}

describe('an account later on', () => {
  let directory, plcURL, server, other
  before(async () => {
    directory = plc.PlcServer.create({ db: plc.Database.mock(), port: 0 })
    const listener = await directory.start()
    plcURL = `http://127.0.0.1:${listener.address().port}`
    server = await start('-store', 'memory', '-plc', plcURL)
    other = await start('-store', 'bolt', '-plc', plcURL, '-hostname', 'other.test', '-handle-domains', '.other.test')
  })
  after(async () => {
    await server.stop()
    await other.stop()
    await directory.destroy()
  })

  const signUp = async (name) => {
    const a = new AtpAgent({ service: server.url })
    await a.createAccount({ handle: `${name}.test`, email: `${name}@example.com`, password: 'correct horse' })
    return a
  }
  const verifiedOf = (token, aud, lxm) => verified(plcURL, aud, lxm, token)
  const doc = async (did) => (await fetch(`${plcURL}/${did}`)).json()

  test('e-mail: confirm, change, second factor', async () => {
    const a = await signUp('alice')
    const s = a.com.atproto.server
    await s.requestEmailConfirmation()
    await s.confirmEmail({ email: 'alice@example.com', token: await server.code('alice@example.com', 'confirm_email') })
    assert.equal((await s.getSession()).data.emailConfirmed, true)
    const asked = valid('com.atproto.server.requestEmailUpdate', await s.requestEmailUpdate())
    assert.equal(asked.tokenRequired, true)
    await assert.rejects(s.updateEmail({ email: 'alice@example.com' }), refused(400, 'TokenRequired'))
    await s.updateEmail({ email: 'alice@example.com', emailAuthFactor: true, token: await server.code('alice@example.com', 'update_email') })

    const b = new AtpAgent({ service: server.url })
    const login = { identifier: 'alice.test', password: 'correct horse' }
    await assert.rejects(b.login(login), refused(401, 'AuthFactorTokenRequired'))
    await b.login({ ...login, authFactorToken: await server.code('alice@example.com', 'sign_in') })
    assert.equal(b.session.emailAuthFactor, true)

    await s.requestEmailUpdate()
    await s.updateEmail({ email: 'alice2@example.com', token: await server.code('alice@example.com', 'update_email') })
    const got = valid('com.atproto.server.getSession', await s.getSession())
    assert.deepEqual([got.email, got.emailConfirmed], ['alice2@example.com', false])
  })

  test('handle change, in the directory too', async () => {
    const a = await signUp('bob')
    await a.com.atproto.identity.updateHandle({ handle: 'robert.test' })
    assert.equal((await a.com.atproto.server.getSession()).data.handle, 'robert.test')
    assert.deepEqual((await doc(a.session.did)).alsoKnownAs, ['at://robert.test'])
    const resolved = valid('com.atproto.identity.resolveHandle', await a.com.atproto.identity.resolveHandle({ handle: 'robert.test' }))
    assert.equal(resolved.did, a.session.did)
    await assert.rejects(a.com.atproto.identity.updateHandle({ handle: 'x.test' }), refused(400, 'InvalidHandle'))
  })

  test('key rotation, in the directory too', async () => {
    const a = await signUp('carol')
    const { signingKey } = valid('com.atproto.server.reserveSigningKey', await a.com.atproto.server.reserveSigningKey({}))
    await a.com.atproto.admin.updateAccountSigningKey({ did: a.session.did, signingKey }, asAdmin)
    const data = await (await fetch(`${plcURL}/${a.session.did}/data`)).json()
    assert.equal(data.verificationMethods.atproto, signingKey)
    const log = await (await fetch(`${plcURL}/${a.session.did}/log`)).json()
    assert.equal(log.length, 2)
  })

  test('deactivate and activate', async () => {
    const a = await signUp('dave')
    const s = a.com.atproto.server
    await s.deactivateAccount({})
    let got = valid('com.atproto.server.getSession', await s.getSession())
    assert.deepEqual([got.active, got.status], [false, 'deactivated'])
    await s.activateAccount()
    got = valid('com.atproto.server.getSession', await s.getSession())
    assert.deepEqual([got.active, got.status], [true, undefined])
    valid('com.atproto.server.checkAccountStatus', await s.checkAccountStatus())
  })

  test('service auth, as another service checks it', async () => {
    const a = await signUp('grace')
    const aud = 'did:web:service.example.com'
    const lxm = 'app.bsky.feed.getTimeline'
    const ask = async (params) => valid('com.atproto.server.getServiceAuth', await a.com.atproto.server.getServiceAuth(params)).token
    const token = await ask({ aud, lxm })
    assert.equal(await verifiedOf(token, aud, lxm), a.session.did)
    await assert.rejects(verifiedOf(token, 'did:web:other.example.com', lxm), /not verified/)
    await assert.rejects(verifiedOf(token, aud, 'app.bsky.feed.getFeed'), /not verified/)
    await assert.rejects(ask({ aud, lxm, exp: 1 }), refused(400, 'BadExpiration'))
    // After a rotation the old key no longer signs, and the new one does once the directory has it.
    const { signingKey } = (await a.com.atproto.server.reserveSigningKey({})).data
    await a.com.atproto.admin.updateAccountSigningKey({ did: a.session.did, signingKey }, asAdmin)
    await assert.rejects(verifiedOf(token, aud, lxm), /not verified/)
    assert.equal(await verifiedOf(await ask({ aud, lxm }), aud, lxm), a.session.did)
  })

  test('move to another server', async () => {
    const a = await signUp('erin')
    const { did } = a.session
    const b = new AtpAgent({ service: other.url })
    const audience = (await b.com.atproto.server.describeServer()).data.did
    const lxm = 'com.atproto.server.createAccount'
    const { token } = valid('com.atproto.server.getServiceAuth', await a.com.atproto.server.getServiceAuth({ aud: audience, lxm }))
    const created = await b.com.atproto.server.createAccount(
      { did, handle: 'erin.other.test', email: 'erin@example.com', password: 'correct horse' },
      { encoding: 'application/json', headers: { authorization: `Bearer ${token}` } },
    )
    assert.equal(created.data.did, did)
    // Although the DID still points to the old server, the client stays with the new one.
    await b.login({ identifier: 'erin.other.test', password: 'correct horse' })
    await assert.rejects(b.com.atproto.server.activateAccount(), refused(400, 'InvalidRequest'))
    const recommended = valid('com.atproto.identity.getRecommendedDidCredentials', await b.com.atproto.identity.getRecommendedDidCredentials())
    await a.com.atproto.identity.requestPlcOperationSignature()
    const signed = valid('com.atproto.identity.signPlcOperation', await a.com.atproto.identity.signPlcOperation({
      ...recommended, token: await server.code('erin@example.com', 'plc_operation'),
    }))
    await b.com.atproto.identity.submitPlcOperation({ operation: signed.operation })
    await b.com.atproto.server.activateAccount()
    await a.com.atproto.server.deactivateAccount({})
    const moved = await doc(did)
    assert.deepEqual(moved.alsoKnownAs, ['at://erin.other.test'])
    assert.equal(new URL(moved.service[0].serviceEndpoint).port, new URL(other.url).port)
    // Now the new server signs for the account, and the old one doesn't.
    const call = { aud: 'did:web:service.example.com', lxm: 'app.bsky.feed.getTimeline' }
    const proof = await b.com.atproto.server.getServiceAuth(call)
    assert.equal(await verifiedOf(proof.data.token, call.aud, call.lxm), did)
    const got = valid('com.atproto.server.getSession', await b.com.atproto.server.getSession())
    assert.deepEqual([got.active, got.handle], [true, 'erin.other.test'])
  })

  test('what an operator asks', async () => {
    const a = await signUp('frank')
    const { admin } = a.com.atproto
    const info = valid('com.atproto.admin.getAccountInfo', await admin.getAccountInfo({ did: a.session.did }, asAdmin))
    assert.equal(info.email, 'frank@example.com')
    const found = valid('com.atproto.admin.searchAccounts', await admin.searchAccounts({ email: 'frank@' }, asAdmin))
    assert.deepEqual(found.accounts.map((x) => x.did), [a.session.did])
    const status = valid('com.atproto.admin.updateSubjectStatus', await admin.updateSubjectStatus(
      { subject: { $type: 'com.atproto.admin.defs#repoRef', did: a.session.did }, takedown: { applied: true, ref: 'x' } }, asAdmin))
    assert.equal(status.takedown.applied, true)
    await assert.rejects(new AtpAgent({ service: server.url }).login({ identifier: 'frank.test', password: 'correct horse' }), refused(401, 'AccountTakedown'))
    await assert.rejects(admin.getAccountInfo({ did: a.session.did }), XRPCError)
  })
})
