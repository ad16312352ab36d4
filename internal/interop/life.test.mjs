// The life of an account, with the official client. The client validates every answer against the
// lexicons, and these tests validate it again explicitly.
import assert from 'node:assert/strict'
import { createHmac } from 'node:crypto'
import { after, before, describe, test } from 'node:test'
import { AtpAgent, CredentialSession, XRPCError, lexicons } from '@atproto/api'
import { asAdmin, start } from './server.mjs'

// Validates the answer of a method against its lexicon.
function valid(nsid, result) {
  assert.equal(result.success, true)
  lexicons.assertValidXrpcOutput(nsid, result.data)
  return result.data
}

function refused(status, error) {
  return (err) => {
    assert.ok(err instanceof XRPCError, String(err))
    assert.equal(err.status, status)
    assert.equal(err.error, error)
    return true
  }
}

const jwtSecret = 'a secret of the tests'

// Returns the same access token with an expiry in the past.
function expired(token) {
  const [header, payload] = token.split('.')
  const claims = JSON.parse(Buffer.from(payload, 'base64url'))
  claims.iat -= 3 * 3600
  claims.exp -= 3 * 3600
  const said = `${header}.${Buffer.from(JSON.stringify(claims)).toString('base64url')}`
  return `${said}.${createHmac('sha256', jwtSecret).update(said).digest('base64url')}`
}

for (const store of ['memory', 'bolt']) {
  describe(`on ${store}`, () => {
    let server
    before(async () => { server = await start('-store', store, '-jwt-secret', jwtSecret) })
    after(() => server.stop())

    const agent = () => new AtpAgent({ service: server.url })
    const server_ = (a) => a.com.atproto.server

    test('describeServer', async () => {
      const about = valid('com.atproto.server.describeServer', await server_(agent()).describeServer())
      assert.deepEqual(about.availableUserDomains, ['.test'])
      assert.equal(about.inviteCodeRequired, false)
    })

    test('sign up, resume, refresh, log out', async () => {
      let session
      const a = new AtpAgent({ service: server.url, persistSession: (_, s) => { session = s } })
      const created = valid('com.atproto.server.createAccount', await a.createAccount({
        handle: 'alice.test', email: 'alice@example.com', password: 'correct horse',
      }))
      assert.match(created.did, /^did:plc:[a-z2-7]{24}$/)
      assert.equal(a.session.handle, 'alice.test')

      const b = agent()
      await b.resumeSession(session)
      const got = valid('com.atproto.server.getSession', await server_(b).getSession())
      assert.equal(got.did, created.did)
      assert.equal(got.email, 'alice@example.com')
      assert.equal(got.emailConfirmed, false)

      const credentials = new CredentialSession(new URL(server.url))
      await credentials.login({ identifier: 'alice@example.com', password: 'correct horse' })
      const old = credentials.session.refreshJwt
      await credentials.refreshSession()
      assert.notEqual(credentials.session.refreshJwt, old)
      // The client's logout ignores failures, so check that the session has ended.
      const ended = credentials.session
      await credentials.logout()
      const with_ = (token) => ({ headers: { authorization: `Bearer ${token}` } })
      await assert.rejects(server_(agent()).getSession({}, with_(ended.accessJwt)), refused(400, 'ExpiredToken'))
      await assert.rejects(server_(agent()).refreshSession(undefined, with_(ended.refreshJwt)), refused(400, 'ExpiredToken'))
      await server_(b).getSession()
      await assert.rejects(
        server_(agent()).getSession({}, { headers: { authorization: `Bearer ${session.accessJwt}x` } }),
        refused(400, 'InvalidToken'),
      )
    })

    test('an access token that expired is refreshed by the client itself', async () => {
      const events = []
      const a = new AtpAgent({ service: server.url, persistSession: (event) => { events.push(event) } })
      await a.login({ identifier: 'alice.test', password: 'correct horse' })
      const { refreshJwt } = a.session
      a.session.accessJwt = expired(a.session.accessJwt)
      await assert.rejects(
        server_(agent()).getSession({}, { headers: { authorization: `Bearer ${a.session.accessJwt}` } }),
        refused(400, 'ExpiredToken'),
      )
      const got = await server_(a).getSession()
      assert.equal(got.data.did, a.session.did)
      assert.deepEqual(events, ['create', 'update'])
      assert.notEqual(a.session.refreshJwt, refreshJwt)
    })

    test('what only admins may logs nobody out', async () => {
      const events = []
      const a = new AtpAgent({ service: server.url, persistSession: (event) => { events.push(event) } })
      await a.login({ identifier: 'alice.test', password: 'correct horse' })
      const { did } = a.session
      const ask = async () => {
        await assert.rejects(server_(a).createInviteCode({ useCount: 1 }), refused(403, 'Forbidden'))
        await assert.rejects(a.com.atproto.admin.deleteAccount({ did }), refused(403, 'Forbidden'))
        assert.equal(a.session?.did, did)
        assert.equal((await server_(a).getSession()).data.did, did)
      }
      await ask()
      assert.deepEqual(events, ['create'])
      a.session.accessJwt = expired(a.session.accessJwt) // the client then refreshes, which is refused
      await ask()
      assert.deepEqual(events, ['create', 'update'])
    })

    test('errors have their names', async () => {
      const a = agent()
      const sign = (more) => a.createAccount({ handle: 'bob.test', email: 'bob@example.com', password: 'correct horse', ...more })
      await assert.rejects(a.login({ identifier: 'alice.test', password: 'wrong' }), refused(401, 'AuthenticationRequired'))
      await assert.rejects(a.login({ identifier: 'nobody.test', password: 'wrong' }), refused(401, 'AuthenticationRequired'))
      await assert.rejects(sign({ handle: 'x.test' }), refused(400, 'InvalidHandle'))
      await assert.rejects(sign({ handle: 'alice.test' }), refused(400, 'HandleNotAvailable'))
      await assert.rejects(sign({ handle: 'bob.example.com' }), refused(400, 'UnsupportedDomain'))
      await assert.rejects(sign({ password: 'short' }), refused(400, 'InvalidPassword'))
      await assert.rejects(sign({ inviteCode: 'no-such-code' }), refused(400, 'InvalidInviteCode'))
      await assert.rejects(server_(a).resetPassword({ token: 'AAAAA-AAAAA', password: 'correct horse' }), refused(400, 'InvalidToken'))
      await assert.rejects(server_(a).getSession(), refused(401, 'AuthMissing'))
    })

    test('app passwords', async () => {
      const a = agent()
      await a.login({ identifier: 'alice.test', password: 'correct horse' })
      const made = valid('com.atproto.server.createAppPassword', await server_(a).createAppPassword({ name: 'phone' }))
      assert.match(made.password, /^[a-z2-7]{4}(-[a-z2-7]{4}){3}$/)
      const list = valid('com.atproto.server.listAppPasswords', await server_(a).listAppPasswords())
      assert.deepEqual(list.passwords.map((p) => p.name), ['phone'])

      const phone = agent()
      await phone.login({ identifier: 'alice.test', password: made.password })
      assert.equal(phone.session.email, undefined)
      await assert.rejects(server_(phone).createAppPassword({ name: 'more' }), refused(400, 'InvalidToken'))
      await server_(a).revokeAppPassword({ name: 'phone' })
      await assert.rejects(server_(phone).getSession(), refused(400, 'ExpiredToken'))
      await assert.rejects(agent().login({ identifier: 'alice.test', password: made.password }), refused(401, 'AuthenticationRequired'))
    })

    test('reset the password with the code of an e-mail', async () => {
      await server_(agent()).requestPasswordReset({ email: 'alice@example.com' })
      const token = await server.code('alice@example.com', 'reset_password')
      await server_(agent()).resetPassword({ token, password: 'battery staple' })
      await assert.rejects(agent().login({ identifier: 'alice.test', password: 'correct horse' }), refused(401, 'AuthenticationRequired'))
      await agent().login({ identifier: 'alice.test', password: 'battery staple' })
    })

    test('delete the account', async () => {
      const a = agent()
      await a.login({ identifier: 'alice.test', password: 'battery staple' })
      await server_(a).requestAccountDelete()
      const token = await server.code('alice@example.com', 'delete_account')
      const did = a.session.did
      await assert.rejects(server_(a).deleteAccount({ did, password: 'wrong', token }), refused(401, 'AuthenticationRequired'))
      await server_(a).deleteAccount({ did, password: 'battery staple', token })
      await assert.rejects(agent().login({ identifier: 'alice.test', password: 'battery staple' }), refused(401, 'AuthenticationRequired'))
    })
  })
}

for (const [mode, codeRequired, message] of [
  ['closed', true, "This server doesn't take new accounts"],
  ['migrations', false, 'This server only takes accounts that move here from another server'],
]) {
  describe(`with sign-up for ${mode}`, () => {
    let server
    before(async () => { server = await start('-store', 'memory', '-sign-up', mode) })
    after(() => server.stop())

    test('nobody new is taken, and is told so', async () => {
      const a = new AtpAgent({ service: server.url })
      const about = valid('com.atproto.server.describeServer', await a.com.atproto.server.describeServer())
      assert.equal(about.inviteCodeRequired, codeRequired)
      await assert.rejects(a.createAccount({ handle: 'alice.test', email: 'alice@example.com', password: 'correct horse' }), (err) => {
        assert.equal(err.message, message)
        return refused(400, 'SignUpClosed')(err)
      })
      assert.equal(a.session, undefined)
    })
  })
}

describe('by invitation', () => {
  let server
  before(async () => { server = await start('-store', 'memory', '-sign-up', 'invites') })
  after(() => server.stop())

  test('a code lets in one account', async () => {
    const a = new AtpAgent({ service: server.url })
    const sign = (name, inviteCode) => a.createAccount({ handle: `${name}.test`, email: `${name}@example.com`, password: 'correct horse', inviteCode })
    const about = await a.com.atproto.server.describeServer()
    assert.equal(about.data.inviteCodeRequired, true)
    await assert.rejects(sign('alice'), refused(400, 'InvalidInviteCode'))
    await assert.rejects(a.com.atproto.server.createInviteCode({ useCount: 1 }), refused(401, 'AuthenticationRequired'))
    const made = valid('com.atproto.server.createInviteCode', await a.com.atproto.server.createInviteCode({ useCount: 1 }, asAdmin))
    const alice = await sign('alice', made.code)
    await assert.rejects(sign('bob', made.code), refused(400, 'InvalidInviteCode'))

    const gift = valid('com.atproto.server.createInviteCodes', await a.com.atproto.server.createInviteCodes(
      { codeCount: 2, useCount: 1, forAccounts: [alice.data.did] }, asAdmin))
    assert.equal(gift.codes[0].codes.length, 2)
    await a.login({ identifier: 'alice.test', password: 'correct horse' })
    const codes = valid('com.atproto.server.getAccountInviteCodes', await a.com.atproto.server.getAccountInviteCodes({ includeUsed: true }))
    // Entries of the same millisecond have no defined order.
    assert.deepEqual(codes.codes.map((c) => [c.code, c.available, c.uses.length]).sort(), gift.codes[0].codes.map((code) => [code, 1, 0]).sort())
    const bob = await new AtpAgent({ service: server.url }).createAccount({
      handle: 'bob.test', email: 'bob@example.com', password: 'correct horse', inviteCode: codes.codes[0].code,
    })
    const after = valid('com.atproto.server.getAccountInviteCodes', await a.com.atproto.server.getAccountInviteCodes({ includeUsed: true }))
    assert.deepEqual(after.codes.map((c) => c.uses.map((u) => u.usedBy)), [[bob.data.did], []])
    const left = await a.com.atproto.server.getAccountInviteCodes({ includeUsed: false })
    assert.deepEqual(left.data.codes.map((c) => c.code), [codes.codes[1].code])
  })
})
