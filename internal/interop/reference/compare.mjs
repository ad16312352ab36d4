// Asks the reference server and Gatehouse the same, and holds every difference in what they answer against the tables
// below, which are those of docs/compatibility.md. `make compare` runs it; it is not a part of what guards main, since
// the reference has to be compiled.
import assert from 'node:assert/strict'
import { createHmac } from 'node:crypto'
import { after, before, describe, test } from 'node:test'
import { AtpAgent } from '@atproto/api'
import { Comparison, admin, jwtSecret, nobody, start } from './sides.mjs'

const S = 'com.atproto.server.'
const I = 'com.atproto.identity.'
const A = 'com.atproto.admin.'

const procedures = ['createAccount', 'createAppPassword', 'createInviteCode', 'createInviteCodes', 'createSession', 'deleteAccount',
  'deleteSession', 'refreshSession', 'requestAccountDelete', 'requestPasswordReset', 'resetPassword', 'revokeAppPassword',
  'activateAccount', 'confirmEmail', 'deactivateAccount', 'requestEmailConfirmation', 'requestEmailUpdate', 'reserveSigningKey', 'updateEmail']
const queries = ['describeServer', 'getAccountInviteCodes', 'getSession', 'listAppPasswords', 'checkAccountStatus', 'getServiceAuth']

const alike = (...labels) => (why) => Object.fromEntries(labels.map((label) => [label, why]))
const json = 'application/json'

describe('the reference and Gatehouse', () => {
  let both
  before(async () => { both = await start() })
  after(() => both.stop())

  const signUp = async (...names) => {
    for (const name of names) {
      await both.ref.signUp(name)
      await both.our.signUp(name)
    }
  }
  const compare = (title, known, f) => test(title, async () => {
    const c = new Comparison(both, known)
    await f(c)
    c.done()
  })

  compare('requests', {
    ...alike(...procedures.map((m) => `GET ${m}`), ...queries.map((m) => `POST ${m}`))('405 where the reference says 400'),
    ...alike('GET describeServer', 'GET describeServer with a parameter that it does not have')('phoneVerificationRequired and blobUploadLimit'),
    ...alike('GET getServiceAuth', 'GET getServiceAuth with a parameter that it does not have')(
      'auth comes before parameters'),
    ...alike('an unknown method', 'no NSID')('501, and 400, as xrpc-server says; this reference has a proxy'),
    ...alike('another case')('methods are compared with their case'),
    ...alike('too large')('the name is that of the status'),
  }, async (c) => {
    for (const m of procedures) {
      const path = `/xrpc/${S}${m}`
      await c.ask(`GET ${m}`, (s) => s.send('GET', path))
      await c.ask(`${m} without a body`, (s) => s.send('POST', path))
      for (const body of ['{}', '[]', 'null', '{"a":', '{"handle":5,"identifier":5,"email":5,"token":5,"name":5,"useCount":"x","did":5}']) {
        await c.ask(`${m} with ${body}`, (s) => s.send('POST', path, { body, type: json }))
      }
      await c.ask(`${m} with text`, (s) => s.send('POST', path, { body: '{}', type: 'text/plain' }))
      await c.ask(`${m} with a charset`, (s) => s.send('POST', path, { body: '{}', type: `${json}; charset=utf-8` }))
    }
    for (const m of queries) {
      await c.ask(`POST ${m}`, (s) => s.send('POST', `/xrpc/${S}${m}`, { body: '{}', type: json }))
      await c.ask(`GET ${m}`, (s) => s.call(S + m))
      await c.ask(`GET ${m} with a parameter that it does not have`, (s) => s.call(S + m, { params: { zzz: 1 } }))
    }
    await c.ask('an unknown method', (s) => s.call('com.example.nothing.doNothing'))
    await c.ask('no NSID', (s) => s.call('nothing'))
    await c.ask('no method', (s) => s.send('GET', '/xrpc/'))
    await c.ask('another case', (s) => s.call('com.atproto.server.DescribeServer'))
    const text = (n) => ({ type: json, body: JSON.stringify({ identifier: 'a'.repeat(n), password: 'x' }) })
    await c.ask('large', (s) => s.send('POST', `/xrpc/${S}createSession`, text(140_000)))
    await c.ask('too large', (s) => s.send('POST', `/xrpc/${S}createSession`, text(200_000)))
  })

  const token = (claims, { typ = 'at+jwt', alg = 'HS256', secret = jwtSecret } = {}) => {
    const said = [{ typ, alg }, claims].map((part) => Buffer.from(JSON.stringify(part)).toString('base64url')).join('.')
    return `Bearer ${said}.${createHmac('sha256', secret).update(said).digest('base64url')}`
  }

  compare('authorization', {
    ...alike('getSession, an account that is gone', 'listAppPasswords, an account that is gone', 'getServiceAuth, an account that is gone',
      'checkAccountStatus, an account that is gone')('403 AccountNotFound'),
    ...alike('getSession, good', 'getSession, lower case')('emailAuthFactor'),
    ...alike('checkAccountStatus, good', 'checkAccountStatus, lower case')('no repository'),
    ...alike('createInviteCode, good', 'createInviteCode, lower case', 'createInviteCode, expired', 'updateAccountEmail, good',
      'updateAccountEmail, lower case', 'updateAccountEmail, expired')('a user is no admin, and need not log in again'),
  }, async (c) => {
    await signUp('anna')
    const now = Math.floor(Date.now() / 1000)
    const claims = (s) => ({ scope: 'com.atproto.access', aud: 'did:web:localhost', sub: s.accounts.anna.did, iat: now, exp: now + 100 })
    const ways = {
      none: () => undefined, 'no token': () => 'Bearer', nonsense: () => 'Bearer x', 'two tokens': () => 'Bearer a b',
      'another scheme': () => 'Foo bar', DPoP: () => 'DPoP xyz', 'the admin': () => admin, 'no admin': () => 'Basic !!',
      'another password': () => 'Basic ' + Buffer.from('admin:nope').toString('base64'),
      good: (s) => s.accounts.anna.auth, 'lower case': (s) => s.accounts.anna.auth.replace('Bearer', 'bearer'),
      expired: (s) => token({ ...claims(s), iat: 1000, exp: 2000 }), 'another audience': (s) => token({ ...claims(s), aud: 'did:web:other' }),
      'another scope': (s) => token({ ...claims(s), scope: 'com.atproto.nope' }), 'no scope': (s) => token({ ...claims(s), scope: undefined }),
      'no subject': (s) => token({ ...claims(s), sub: undefined }), 'an odd subject': (s) => token({ ...claims(s), sub: 'somebody' }),
      'an account that is gone': (s) => token({ ...claims(s), sub: nobody }), 'another key': (s) => token(claims(s), { secret: 'another' }),
      'another type': (s) => token(claims(s), { typ: 'JWT' }), 'no algorithm': (s) => token(claims(s), { alg: 'none' }),
    }
    const methods = {
      [`${S}getSession`]: {}, [`POST ${S}refreshSession`]: {}, [`POST ${S}deleteSession`]: {}, [`${S}listAppPasswords`]: {},
      [`${S}getAccountInviteCodes`]: {}, [`${S}createInviteCode`]: { body: { useCount: 1 } }, [`${S}checkAccountStatus`]: {},
      [`${S}getServiceAuth`]: { params: { aud: 'did:web:service.example.com', lxm: 'com.atproto.server.getSession' } },
      [`${A}updateAccountEmail`]: { body: { account: 'nobody.test', email: 'a@example.com' } },
      [`${S}createSession`]: { body: { identifier: 'nobody.test', password: 'x' } },
    }
    for (const [way, auth] of Object.entries(ways)) {
      for (const [method, input] of Object.entries(methods)) {
        await c.ask(`${method.split('.').at(-1)}, ${way}`, (s) => s.call(method, { ...input, auth: auth(s) }))
      }
    }
  })

  compare('sign-up', {
    ...alike('createAccount: handle upper.test TAKEN', 'createAccount: handle taken', 'createAccount: all taken')('HandleNotAvailable, as the lexicon says'),
    ...alike('createAccount: handle atproto.test', 'createAccount: handle fuck.test')('another list of reserved handles'),
    ...alike('createAccount: handle pasted1.test.', 'createAccount: handle pasted2.test ', 'createAccount: handle @pasted3.test',
      'createAccount: email  pasted1@example.com', 'createAccount: email pasted2@example.com\n')('what people paste is understood'),
    ...alike('createAccount: email ü@example.com', 'createAccount: email x@exämple.com')('addresses are ASCII'),
    ...alike('createAccount: no password', 'createAccount: an empty password')('a password is required'),
    ...alike('createAccount: a recovery key that is none', 'createAccount: a recovery key of an unknown kind')('the message'),
  }, async (c) => {
    await signUp('taken')
    const unique = (() => { let n = 0; return () => ({ handle: `new${++n}.test`, email: `new${n}@example.com`, password: 'password' }) })()
    const cases = {}
    const add = (label, change) => { const input = { ...unique(), ...change }; cases[label] = () => ({ body: input }) }
    for (const handle of ['a.test', 'ab.test', 'abc-.test', '-abc.test', `${'a'.repeat(18)}.test`, `${'a'.repeat(19)}.test`, 'ab.cd.test', 'admin.test',
      'ADMIN.test', 'about.test', 'atproto.test', 'fuck.test', 'foo.example.com', 'test', '.test', 'foo..test', 'pasted1.test.', 'pasted2.test ', 'foo.local', 'foo.onion',
      'foo.invalid', 'localhost', 'did:plc:abc', '@pasted3.test', '123.test', 'foo.123', 'föö.test', 'handle.invalid', 'a--b.test', 5, '']) {
      add(`handle ${handle}`, { handle })
    }
    add('handle taken', { handle: 'taken.test' })
    add('handle upper.test TAKEN', { handle: 'TAKEN.test' })
    for (const email of ['', 'x', 'x@', '@x.com', 'x@y', 'x y@example.com', ' pasted1@example.com', 'x@mailinator.com', '"x y"@example.com', 'x@example..com', 'x@localhost',
      'pasted2@example.com\n', 'x@[127.0.0.1]', 'a@b@c.com', 'x<y>@example.com', '.x@example.com', 'x+y@example.com', 'ü@example.com', 'x@exämple.com', 5]) {
      add(`email ${email}`, { email })
    }
    add('no email', { email: undefined })
    add('email taken', { email: 'TAKEN@example.com' })
    add('no password', { password: undefined })
    add('an empty password', { password: '' })
    for (const n of [1, 256, 257, 2000]) add(`a password of ${n}`, { password: 'é'.repeat(n) })
    add('an invite code that nobody asked for', { inviteCode: 'nonsense' })
    add('a recovery key', { recoveryKey: 'did:key:zQ3shSGohCmsoEZKdvG4gTDt8tsrEuMfBMuXaP4DtKhSrFJ4r' })
    add('a recovery key that is none', { recoveryKey: 'nonsense' })
    add('a recovery key of an unknown kind', { recoveryKey: 'did:key:znonsense' })
    add('somebody else\'s DID', { did: nobody })
    add('no DID', { did: 'nonsense' })
    add('an operation', { plcOp: { a: 1 } })
    add('an operation and a bad handle', { plcOp: { a: 1 }, handle: 'a.test' })
    add('a phone', { verificationCode: 'x', verificationPhone: '+1' })
    add('all taken', { handle: 'taken.test', email: 'taken@example.com' })
    add('a bad handle and a bad address', { handle: 'a.test', email: 'x' })
    add('a long password and a bad address', { password: 'p'.repeat(257), email: 'x' })
    add('a taken handle and a bad address', { handle: 'taken.test', email: 'x' })
    await c.each(`${S}createAccount`, cases)
  })

  compare('sessions', {
    ...alike('createSession: by handle', 'createSession: by handle in capitals', 'createSession: by e-mail', 'createSession: by e-mail in capitals',
      'createSession: by DID', 'createSession: by DID in capitals', 'createSession: with what is not needed', 'createSession: allowTakendown for nothing',
      'refresh', 'refresh again', 'app password', 'app password, allowTakendown', 'getSession of an app password', 'refresh of an app password')('emailAuthFactor; app passwords see no e-mail address'),
    ...alike('createSession: with spaces', 'createSession: with an @', 'app password in capitals')('what people paste is understood'),
    ...alike('a name that is taken', 'an empty name', 'a long name')('names of app passwords are 1 to 256 bytes and unique'),
    ...alike('listAppPasswords of an app password', 'revokeAppPassword of an app password')('only for the account password'),
    ...alike('checkAccountStatus of an app password')('no repository'),
    ...alike('submitPlcOperation of an app password')('the message goes on with what is wrong'),
  }, async (c) => {
    await signUp('alice', 'bob')
    const login = (identifier, password = 'password', more = {}) => ({ body: { identifier, password, ...more } })
    await c.each(`${S}createSession`, {
      'by handle': login('alice.test'), 'by handle in capitals': login('ALICE.test'), 'by e-mail': login('alice@example.com'),
      'by e-mail in capitals': login('ALICE@example.com'), 'by DID': (s) => login(s.accounts.alice.did), 'by DID in capitals': (s) => login(s.accounts.alice.did.toUpperCase()),
      'with spaces': login(' alice.test '), 'with an @': login('@alice.test'), 'by label': login('alice'), 'by nothing': login(''), 'by an odd DID': login('did:plc:x'),
      'no password': login('alice.test', ''), 'another case of the password': login('alice.test', 'Password'), 'a long password': login('alice.test', 'p'.repeat(512)),
      'a longer password': login('alice.test', 'p'.repeat(513)), 'a longer password of nobody': login('nobody.test', 'p'.repeat(513)),
      'with what is not needed': login('alice.test', 'password', { authFactorToken: 'x', allowTakendown: false }),
      'allowTakendown for nothing': login('alice.test', 'password', { allowTakendown: true }), 'a boolean': login(true),
    })
    const alice = (s) => s.accounts.alice.auth
    const name = (label, n, more) => c.ask(label, (s) => s.call(`${S}createAppPassword`, { body: { name: n, ...more }, auth: alice(s) }))
    await name('an app password', 'one')
    await name('a name that is taken', 'one')
    await name('an empty name', '')
    await name('a long name', 'x'.repeat(257))
    await name('a name that is a number', 5)
    await name('a privileged one', 'privileged', { privileged: true })
    await name('a privilege that is a text', 'another', { privileged: 'true' })
    for (const s of [both.ref, both.our]) {
      s.app = (await s.call(`${S}createAppPassword`, { body: { name: 'app' }, auth: alice(s) })).json.password
      s.session = (await s.call(`${S}createSession`, login('alice.test', s.app))).json
    }
    await c.ask('app password', (s) => s.call(`${S}createSession`, login('alice.test', s.app)))
    await c.ask('app password in capitals', (s) => s.call(`${S}createSession`, login('alice.test', s.app.toUpperCase())))
    await c.ask('app password, allowTakendown', (s) => s.call(`${S}createSession`, login('alice.test', s.app, { allowTakendown: true })))
    await c.ask('app password of another', (s) => s.call(`${S}createSession`, login('bob.test', s.app)))
    for (const [method, input] of Object.entries({
      [`${S}getSession`]: {}, [`${S}checkAccountStatus`]: {}, [`${S}getAccountInviteCodes`]: {}, [`${S}listAppPasswords`]: {},
      [`${S}createAppPassword`]: { body: { name: 'z' } }, [`${S}revokeAppPassword`]: { body: { name: 'z' } }, [`POST ${S}requestAccountDelete`]: {},
      [`POST ${S}requestEmailConfirmation`]: {}, [`POST ${S}requestEmailUpdate`]: {}, [`${S}updateEmail`]: { body: { email: 'q@example.com' } },
      [`${S}confirmEmail`]: { body: { email: 'q@example.com', token: 'x' } }, [`POST ${S}activateAccount`]: {}, [`${S}deactivateAccount`]: { body: {} },
      [`POST ${I}requestPlcOperationSignature`]: {}, [`${I}signPlcOperation`]: { body: {} }, [`${I}submitPlcOperation`]: { body: { operation: {} } },
      [`${I}updateHandle`]: { body: { handle: 'alice.test' } },
    })) {
      await c.ask(`${method.split('.').at(-1)} of an app password`, (s) => s.call(method, { ...input, auth: `Bearer ${s.session.accessJwt}` }))
    }
    await c.ask('refresh of an app password', (s) => s.call(`POST ${S}refreshSession`, { auth: `Bearer ${s.session.refreshJwt}` }))
    await c.ask('revoking nothing', (s) => s.call(`${S}revokeAppPassword`, { body: { name: 'nothing' }, auth: alice(s) }))
    await c.ask('revoking', (s) => s.call(`${S}revokeAppPassword`, { body: { name: 'app' }, auth: alice(s) }))
    await c.ask('refresh of one that is revoked', (s) => s.call(`POST ${S}refreshSession`, { auth: `Bearer ${s.session.refreshJwt}` }))
    await c.ask('login with one that is revoked', (s) => s.call(`${S}createSession`, login('alice.test', s.app)))
    const bob = (s) => s.accounts.bob.refresh
    await c.ask('refresh', (s) => s.call(`POST ${S}refreshSession`, { auth: bob(s) }))
    await c.ask('refresh again', (s) => s.call(`POST ${S}refreshSession`, { auth: bob(s) }))
    await c.ask('refresh with a body', (s) => s.call(`${S}refreshSession`, { body: {}, auth: bob(s) }))
    await c.ask('log-out with the access token', (s) => s.call(`POST ${S}deleteSession`, { auth: s.accounts.bob.auth }))
    await c.ask('log-out', (s) => s.call(`POST ${S}deleteSession`, { auth: bob(s) }))
    await c.ask('log-out again', (s) => s.call(`POST ${S}deleteSession`, { auth: bob(s) }))
    await c.ask('refresh after the log-out', (s) => s.call(`POST ${S}refreshSession`, { auth: bob(s) }))
  })

  compare('service auth', {}, async (c) => {
    await signUp('sven')
    const now = Math.floor(Date.now() / 1000)
    const ask = (label, params) => c.ask(label, async (s) => {
      const r = await s.call(`${S}getServiceAuth`, { params, auth: s.accounts.sven.auth })
      return r.status === 200 ? 200 : r
    })
    const aud = 'did:web:service.example.com'
    for (const a of [aud, nobody, 'did:plc:abc', 'did:key:zabc', 'x', `${aud}#service`, `${aud}#`, `${aud}#a#b`, `${aud}:8080`, `${aud}:path`, 'did:web:localhost%3A2583']) {
      await ask(`for ${a}`, { aud: a })
    }
    for (const exp of [now - 5, now + 5, now + 50, now + 70, now + 3500, now + 3700, 0, -1, 'x', '1.5']) {
      await ask(`until ${exp === 0 || isNaN(exp) ? exp : exp - now}`, { aud, exp })
      await ask(`until ${exp === 0 || isNaN(exp) ? exp : exp - now}, for a method`, { aud, exp, lxm: 'app.bsky.feed.getFeed' })
    }
    for (const lxm of ['', 'x', '*', `${S}getSession`, `${S}GETSESSION`, `${S}createAccount`, `${S}deleteAccount`, 'chat.bsky.convo.listConvos']) {
      await ask(`to call ${lxm}`, { aud, lxm })
    }
  })

  compare('invite codes', {
    ...alike('createInviteCode: 0 uses', 'createInviteCode: -1 uses', 'createInviteCode: 1000000000000 uses', 'createInviteCodes: no codes')('numbers are checked'),
    ...alike('the info with a note')('inviteNote is there'),
    ...alike('disableAccountInvites: of nobody')('an account that does not exist is an error'),
  }, async (c) => {
    await signUp('olga', 'otto')
    const byAdmin = { auth: () => admin }
    const cases = {}
    for (const useCount of [0, -1, 1, 5, 1.5, '1', null, 10 ** 12]) cases[`${useCount} uses`] = { body: { useCount } }
    await c.each(`${S}createInviteCode`, {
      ...cases, 'for an account': (s) => ({ body: { useCount: 2, forAccount: s.accounts.olga.did } }), 'for no DID': { body: { useCount: 1, forAccount: 'x' } },
      'for nobody': { body: { useCount: 1, forAccount: nobody } },
    }, byAdmin)
    await c.each(`${S}createInviteCodes`, {
      'two codes': { body: { codeCount: 2, useCount: 1 } }, 'one by default': { body: { useCount: 1 } }, 'no codes': { body: { codeCount: 0, useCount: 1 } },
      'for accounts': (s) => ({ body: { codeCount: 2, useCount: 1, forAccounts: [s.accounts.olga.did, s.accounts.otto.did] } }),
      'for no accounts': { body: { codeCount: 2, useCount: 1, forAccounts: [] } },
    }, byAdmin)
    await c.each(`${S}getAccountInviteCodes`, {
      all: {}, 'without used ones': { params: { includeUsed: 'false' } }, 'earning none': { params: { createAvailable: 'false' } },
      'with an odd boolean': { params: { includeUsed: 'x' } }, 'with a number for a boolean': { params: { includeUsed: '1' } },
    }, { auth: (s) => s.accounts.olga.auth })
    for (const s of [both.ref, both.our]) {
      const { code } = (await s.call(`${S}createInviteCode`, { body: { useCount: 2, forAccount: s.accounts.olga.did }, auth: admin })).json
      await s.signUp('ines', { inviteCode: code })
    }
    await c.each(`${A}getAccountInfo`, {
      'of an invited one': (s) => ({ params: { did: s.accounts.ines.did } }), 'of an owner of codes': (s) => ({ params: { did: s.accounts.olga.did } }),
      'of nobody': { params: { did: nobody } }, 'of no DID': { params: { did: 'x' } }, 'of none': {},
    }, byAdmin)
    await c.each(`${A}getAccountInfos`, { 'of one': (s) => ({ params: { dids: s.accounts.otto.did } }), 'of nobody': { params: { dids: nobody } }, 'of none': {} }, byAdmin)
    await c.each(`${A}getInviteCodes`, {
      'limit 0': { params: { limit: 0 } }, 'limit 501': { params: { limit: 501 } }, 'an odd limit': { params: { limit: 'x' } }, 'an odd order': { params: { sort: 'x' } },
      'an odd cursor': { params: { cursor: 'x' } }, 'an odd cursor of usage': { params: { cursor: 'x', sort: 'usage' } },
    }, byAdmin)
    await c.each(`${A}disableInviteCodes`, {
      'of the admin': { body: { accounts: ['admin'] } }, 'of nobody': { body: { codes: ['x'], accounts: ['y'] } }, none: { body: {} },
      'of an account': (s) => ({ body: { accounts: [s.accounts.olga.did] } }),
    }, byAdmin)
    await c.ask('what the owner has left', (s) => s.call(`${S}getAccountInviteCodes`, { auth: s.accounts.olga.auth }))
    await c.each(`${A}disableAccountInvites`, {
      'of an account': (s) => ({ body: { account: s.accounts.otto.did, note: 'why' } }), 'of a handle': { body: { account: 'otto.test' } }, 'of nobody': { body: { account: nobody } },
    }, byAdmin)
    await c.ask('the info with a note', (s) => s.call(`${A}getAccountInfo`, { params: { did: s.accounts.otto.did }, auth: admin }))
    await c.ask('codes of one who may not', (s) => s.call(`${S}getAccountInviteCodes`, { auth: s.accounts.otto.auth }))
    await c.ask('enableAccountInvites', (s) => s.call(`${A}enableAccountInvites`, { body: { account: s.accounts.otto.did }, auth: admin }))
  })

  compare('e-mailed codes', {
    ...alike('requestPasswordReset: of nobody')('addresses can not be enumerated'),
    ...alike('resetPassword: to a long one', 'resetPassword: to an empty one')('the message; a password is required'),
    ...alike('getSession once confirmed', 'getSession once changed')('emailAuthFactor'),
    ...alike('deleteAccount: of nobody')('like a wrong password'),
    ...alike('requestEmailUpdate unconfirmed')('a password reset has confirmed the address'),
    ...alike('deleteAccount')('only an admin deletes an account that is taken down'),
    ...alike('getSession of one who is gone', 'refreshSession of one who is gone')('403 AccountNotFound'),
  }, async (c) => {
    await signUp('carol', 'dan')
    const codes = async (purpose, name) => { for (const s of [both.ref, both.our]) s.token = await s.code(purpose, name) }
    await c.each(`${S}requestPasswordReset`, { 'of nobody': { body: { email: 'x' } }, 'in capitals': { body: { email: 'CAROL@example.com' } } })
    await codes('reset_password', 'carol')
    await c.each(`${S}resetPassword`, {
      'with nothing': { body: { token: '', password: 'new' } }, 'with nonsense': { body: { token: 'AAAAA-AAAAA', password: 'new' } },
      'to a long one': (s) => ({ body: { token: s.token, password: 'n'.repeat(257) } }), 'to an empty one': { body: { token: 'AAAAA-AAAAA', password: '' } },
      'in lower case': (s) => ({ body: { token: s.token.toLowerCase(), password: 'password2' } }), 'once more': (s) => ({ body: { token: s.token, password: 'password2' } }),
    })
    await c.ask('refresh after the reset', (s) => s.call(`POST ${S}refreshSession`, { auth: s.accounts.carol.refresh }))
    for (const s of [both.ref, both.our]) {
      s.accounts.carol.auth = `Bearer ${(await s.call(`${S}createSession`, { body: { identifier: 'carol.test', password: 'password2' } })).json.accessJwt}`
    }
    const carol = { auth: (s) => s.accounts.carol.auth }
    await c.ask('requestEmailUpdate unconfirmed', (s) => s.call(`POST ${S}requestEmailUpdate`, { auth: carol.auth(s) }))
    await c.ask('requestEmailConfirmation', (s) => s.call(`POST ${S}requestEmailConfirmation`, { auth: carol.auth(s) }))
    await codes('confirm_email', 'carol')
    await c.each(`${S}confirmEmail`, {
      'of another address': (s) => ({ body: { email: 'other@example.com', token: s.token } }), 'of no address': (s) => ({ body: { email: '', token: s.token } }),
      'with nonsense': { body: { email: 'carol@example.com', token: 'x' } }, 'by another': (s) => ({ body: { email: 'dan@example.com', token: s.token }, auth: s.accounts.dan.auth }),
      'in other letters': (s) => ({ body: { email: 'CAROL@example.com', token: s.token.toLowerCase() } }), 'once more': (s) => ({ body: { email: 'carol@example.com', token: s.token } }),
    }, carol)
    await c.ask('requestEmailConfirmation of a confirmed one', (s) => s.call(`POST ${S}requestEmailConfirmation`, { auth: carol.auth(s) }))
    await c.ask('getSession once confirmed', (s) => s.call(`${S}getSession`, { auth: carol.auth(s) }))
    await c.each(`${S}updateEmail`, { 'without a code': { body: { email: 'carol2@example.com' } }, 'to the same': { body: { email: 'carol@example.com' } } }, carol)
    await both.our.code('update_email', 'carol').catch(() => {}) // the one that was mailed to a confirmed address
    await c.ask('requestEmailUpdate', (s) => s.call(`POST ${S}requestEmailUpdate`, { auth: carol.auth(s) }))
    await codes('update_email', 'carol')
    const to = (email) => (s) => ({ body: { email, token: s.token } })
    await c.each(`${S}updateEmail`, {
      'with nonsense': { body: { email: 'carol2@example.com', token: 'x' } }, 'to nothing': to('x'), 'to a taken one': to('dan@example.com'),
      'to a throw-away one': to('x@mailinator.com'), 'in capitals': to('CAROL2@example.com'),
    }, carol)
    await c.ask('getSession once changed', (s) => s.call(`${S}getSession`, { auth: carol.auth(s) }))
    await c.ask('requestAccountDelete', (s) => s.call(`POST ${S}requestAccountDelete`, { auth: s.accounts.dan.auth }))
    await codes('delete_account', 'dan')
    const remove = (password, token, did) => (s) => ({ body: { did: did ?? s.accounts.dan.did, password, token: token ?? s.token } })
    await c.each(`${S}deleteAccount`, {
      'with another password': remove('x'), 'with another code': remove('password', 'x'), 'with neither': remove('x', 'x'), 'of nobody': remove('password', 'x', nobody),
      'of no DID': remove('password', 'x', 'x'), 'of another': (s) => remove('password2', s.token, s.accounts.carol.did)(s), 'with a long password': remove('p'.repeat(513)),
    })
    await c.ask('taking down before the deletion', (s) => s.call(`${A}updateSubjectStatus`, {
      body: { subject: { $type: 'com.atproto.admin.defs#repoRef', did: s.accounts.dan.did }, takedown: { applied: true } }, auth: admin,
    }))
    await c.ask('deleteAccount', (s) => s.call(`${S}deleteAccount`, remove('password', s.token.toLowerCase())(s)))
    await both.our.call(`${A}deleteAccount`, { body: { did: both.our.accounts.dan.did }, auth: admin })
    await c.ask('createSession of one who is gone', (s) => s.call(`${S}createSession`, { body: { identifier: 'dan.test', password: 'password' } }))
    await c.ask('getSession of one who is gone', (s) => s.call(`${S}getSession`, { auth: s.accounts.dan.auth }))
    await c.ask('refreshSession of one who is gone', (s) => s.call(`POST ${S}refreshSession`, { auth: s.accounts.dan.refresh }))
  })

  compare('handles and operations', {
    ...alike('resolveHandle: foo.example.invalid')('HandleNotFound, as the lexicon says'),
    ...alike('submitPlcOperation: an empty one')('the message goes on with what is wrong'),
  }, async (c) => {
    await signUp('erin', 'taken2')
    const erin = { auth: (s) => s.accounts.erin.auth }
    const handles = (...all) => Object.fromEntries(all.map((handle) => [handle, { body: { handle } }]))
    await c.each(`${I}updateHandle`, handles('erin.test', 'taken2.test', 'TAKEN2.test', 'a.test', 'admin.test', 'foo.example.com', `${'x'.repeat(19)}.test`, 'foo.bar.test',
      'localhost', 'foo.local', '', 'erin2.test'), erin)
    await c.each(`${I}resolveHandle`, Object.fromEntries(['erin2.test', 'ERIN2.test', 'erin.test', 'foo.test', 'test', 'x', '', 'did:plc:abc', 'foo.example.invalid']
      .map((handle) => [handle, { params: { handle } }])))
    await c.ask('getRecommendedDidCredentials', async (s) => {
      const r = await s.call(`${I}getRecommendedDidCredentials`, { auth: erin.auth(s) })
      delete r.json.services
      return r
    })
    await c.each(`${I}signPlcOperation`, { 'without a code': { body: {} }, 'with nonsense': { body: { token: 'x' } } }, erin)
    await c.each(`${I}submitPlcOperation`, { 'an empty one': { body: { operation: {} } }, none: { body: {} }, 'a text': { body: { operation: 'x' } } }, erin)
    await c.ask('requestPlcOperationSignature', (s) => s.call(`POST ${I}requestPlcOperationSignature`, { auth: erin.auth(s) }))
  })

  compare('admins', {
    ...alike('updateAccountEmail: to a taken one', 'updateAccountEmail: to nothing')('the address must be valid and free'),
    ...alike('updateAccountHandle: of nobody', 'updateAccountPassword: of nobody', 'updateSubjectStatus: of nobody', 'deleteAccount: again')('an account that does not exist is an error'),
    ...alike('updateAccountPassword: to a long one')('the message'),
    ...alike('updateSubjectStatus: of an odd type', 'getSubjectStatus: of a record')('accounts only'),
    ...alike('getSubjectStatus: none')('the message goes on with what is expected'),
    ...alike('createSession: of one who is taken down, to leave', 'getSession of one who leaves', 'getSession of one who is deactivated',
      'createSession of one who is deactivated')('emailAuthFactor; whoever leaves sees the session'),
    ...alike('createAccount-token of one who leaves')('whoever leaves may take the account along'),
    ...alike('invite codes of one who is deactivated')('may be looked at'),
    ...alike('checkAccountStatus of one who is deactivated')('no repository'),
    ...alike('resolveHandle of one who is deactivated')('the identity is not deactivated'),
  }, async (c) => {
    await signUp('frank', 'grace')
    const byAdmin = { auth: () => admin }
    const did = (name) => (s) => s.accounts[name].did
    const frank = did('frank')
    await c.each(`${A}updateAccountEmail`, {
      'of a DID': (s) => ({ body: { account: frank(s), email: 'FRANK2@example.com' } }), 'of a handle': { body: { account: 'frank.test', email: 'frank@example.com' } },
      'of nobody': { body: { account: 'nobody.test', email: 'x@example.com' } }, 'to a taken one': { body: { account: 'frank.test', email: 'grace@example.com' } },
      'of nothing': { body: { account: '???', email: 'x' } }, 'to nothing': { body: { account: 'frank.test', email: 'x' } },
    }, byAdmin)
    for (const s of [both.ref, both.our]) await s.call(`${A}updateAccountEmail`, { body: { account: 'frank.test', email: 'frank@example.com' }, auth: admin })
    await c.each(`${A}updateAccountHandle`, {
      'to a free one': (s) => ({ body: { did: frank(s), handle: 'frank2.test' } }), 'to a taken one': (s) => ({ body: { did: frank(s), handle: 'grace.test' } }),
      'of nobody': { body: { did: nobody, handle: 'frank3.test' } }, 'to an unowned one': (s) => ({ body: { did: frank(s), handle: 'foo.example.com' } }),
      'to a reserved one': (s) => ({ body: { did: frank(s), handle: 'admin.test' } }), 'to a short one': (s) => ({ body: { did: frank(s), handle: 'a.test' } }),
    }, byAdmin)
    await c.each(`${A}updateAccountPassword`, {
      'of an account': (s) => ({ body: { did: frank(s), password: 'password9' } }), 'to a long one': (s) => ({ body: { did: frank(s), password: 'p'.repeat(257) } }),
      'of nobody': { body: { did: nobody, password: 'p' } },
    }, byAdmin)
    await c.ask('refresh after that', (s) => s.call(`POST ${S}refreshSession`, { auth: s.accounts.frank.refresh }))
    await c.each(`${A}sendEmail`, {
      'to an account': (s) => ({ body: { recipientDid: frank(s), senderDid: nobody, content: 'hello', subject: 's' } }),
      'to nobody': { body: { recipientDid: nobody, senderDid: nobody, content: 'hello' } }, 'of no sender': { body: { recipientDid: nobody, content: 'hello' } },
    }, byAdmin)
    const repo = (id) => ({ $type: 'com.atproto.admin.defs#repoRef', did: id })
    await c.each(`${A}updateSubjectStatus`, {
      none: { body: {} }, 'of no type': { body: { subject: { did: nobody } } }, 'of nobody': { body: { subject: repo(nobody), takedown: { applied: true } } },
      'of an odd type': { body: { subject: { $type: 'x.y.z' }, takedown: { applied: true } } }, nothing: (s) => ({ body: { subject: repo(frank(s)) } }),
      'up and down': (s) => ({ body: { subject: repo(frank(s)), takedown: { applied: true }, deactivated: { applied: false } } }),
      down: (s) => ({ body: { subject: repo(frank(s)), takedown: { applied: true } } }),
    }, byAdmin)
    await c.each(`${A}getSubjectStatus`, {
      'of an account': (s) => ({ params: { did: frank(s) } }), 'of nobody': { params: { did: nobody } }, none: {},
      'of a record': { params: { uri: `at://${nobody}/app.bsky.feed.post/x` } },
      'of a blob': (s) => ({ params: { did: frank(s), blob: 'bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku' } }),
    }, byAdmin)
    const login = (more, password = 'password9') => ({ body: { identifier: frankNow, password, ...more } })
    const frankNow = 'frank@example.com'
    await c.each(`${S}createSession`, {
      'of one who is taken down': login(), 'of one who is taken down, to leave': login({ allowTakendown: true }), 'of one who is taken down, with another password': login({}, 'x'),
    })
    for (const s of [both.ref, both.our]) {
      const { accessJwt, refreshJwt } = (await s.call(`${S}createSession`, login({ allowTakendown: true }))).json
      s.leaving = { auth: `Bearer ${accessJwt}`, refresh: `Bearer ${refreshJwt}` }
    }
    for (const [method, input] of Object.entries({
      [`${S}getSession`]: {}, [`${S}checkAccountStatus`]: {}, [`${S}listAppPasswords`]: {}, [`${S}getAccountInviteCodes`]: {}, [`POST ${S}requestAccountDelete`]: {},
      [`POST ${S}requestEmailUpdate`]: {}, [`${S}updateEmail`]: { body: { email: 'y@example.com' } }, [`${S}createAppPassword`]: { body: { name: 'z' } },
      [`POST ${S}activateAccount`]: {}, [`${S}getServiceAuth`]: { params: { aud: nobody } }, [`POST ${I}requestPlcOperationSignature`]: {},
      [`${I}signPlcOperation`]: { body: {} }, [`${I}submitPlcOperation`]: { body: { operation: {} } }, [`${I}updateHandle`]: { body: { handle: 'q.test' } },
      [`${I}getRecommendedDidCredentials`]: {},
    })) {
      await c.ask(`${method.split('.').at(-1)} of one who leaves`, (s) => s.call(method, { ...input, auth: s.leaving.auth }))
    }
    await c.ask('createAccount-token of one who leaves', async (s) => {
      const r = await s.call(`${S}getServiceAuth`, { params: { aud: nobody, lxm: `${S}createAccount` }, auth: s.leaving.auth })
      return r.status === 200 ? 200 : r
    })
    await c.ask('refresh of one who leaves', (s) => s.call(`POST ${S}refreshSession`, { auth: s.leaving.refresh }))
    const grace = (s) => s.accounts.grace.auth
    await c.ask('deactivateAccount at an odd time', (s) => s.call(`${S}deactivateAccount`, { body: { deleteAfter: 'x' }, auth: grace(s) }))
    await c.ask('deactivateAccount', (s) => s.call(`${S}deactivateAccount`, { body: { deleteAfter: '2099-01-01T00:00:00Z' }, auth: grace(s) }))
    await c.ask('getSession of one who is deactivated', (s) => s.call(`${S}getSession`, { auth: grace(s) }))
    await c.ask('createSession of one who is deactivated', (s) => s.call(`${S}createSession`, { body: { identifier: 'grace.test', password: 'password' } }))
    await c.ask('resolveHandle of one who is deactivated', (s) => s.call(`${I}resolveHandle`, { params: { handle: 'grace.test' } }))
    await c.ask('getAccountInfo of one who is deactivated', (s) => s.call(`${A}getAccountInfo`, { params: { did: s.accounts.grace.did }, auth: admin }))
    await c.ask('getSubjectStatus of one who is deactivated', (s) => s.call(`${A}getSubjectStatus`, { params: { did: s.accounts.grace.did }, auth: admin }))
    await c.ask('invite codes of one who is deactivated', (s) => s.call(`${S}getAccountInviteCodes`, { auth: grace(s) }))
    await c.ask('checkAccountStatus of one who is deactivated', (s) => s.call(`${S}checkAccountStatus`, { auth: grace(s) }))
    await c.ask('createAppPassword of one who is deactivated', (s) => s.call(`${S}createAppPassword`, { body: { name: 'z' }, auth: grace(s) }))
    await c.ask('activateAccount', (s) => s.call(`POST ${S}activateAccount`, { auth: grace(s) }))
    await c.ask('activateAccount again', (s) => s.call(`POST ${S}activateAccount`, { auth: grace(s) }))
    await c.each(`${A}deleteAccount`, { once: (s) => ({ body: { did: s.accounts.grace.did } }), again: (s) => ({ body: { did: s.accounts.grace.did } }) }, byAdmin)
  })

  // An account moves as today's tools do it: the client logs in at the new server before the DID leads there.
  for (const [title, ends] of Object.entries({
    'an account moves from the reference': (pair) => [pair.ref, pair.our], 'an account moves to the reference': (pair) => [pair.our, pair.ref],
  })) {
    test(title, async (t) => {
      // The two have DIDs of their own here: Gatehouse gives nobody a token to sign up with where they are.
      const pair = await start({ reference: { serviceDid: 'did:web:reference.test' } })
      t.after(() => pair.stop())
      const [from, to] = ends(pair)
      const name = from === pair.ref ? 'coming' : 'going'
      await from.signUp(name)
      const { did } = from.accounts[name]
      const old = new AtpAgent({ service: from.url })
      await old.login({ identifier: `${name}.test`, password: 'password' })
      const agent = new AtpAgent({ service: to.url })
      const aud = (await agent.com.atproto.server.describeServer()).data.did
      const { token } = (await old.com.atproto.server.getServiceAuth({ aud, lxm: `${S}createAccount` })).data
      await agent.com.atproto.server.createAccount({ did, handle: `${name}2.test`, email: `${name}@example.com`, password: 'password' }, {
        encoding: json, headers: { authorization: `Bearer ${token}` },
      })
      await agent.login({ identifier: `${name}2.test`, password: 'password' })
      await assert.rejects(agent.com.atproto.server.activateAccount(), { status: 400, message: 'Server rotation key not included in PLC DID data' })
      const credentials = (await agent.com.atproto.identity.getRecommendedDidCredentials()).data
      await old.com.atproto.identity.requestPlcOperationSignature()
      const { operation } = (await old.com.atproto.identity.signPlcOperation({ ...credentials, token: await from.code('plc_operation', name) })).data
      await agent.com.atproto.identity.submitPlcOperation({ operation })
      await agent.com.atproto.server.activateAccount()
      await old.com.atproto.server.deactivateAccount({})
      const { active, handle } = (await agent.com.atproto.server.getSession()).data
      assert.deepEqual({ active: active ?? true, handle }, { active: true, handle: `${name}2.test` })
      const document = await (await fetch(`${pair.plcURL}/${did}`)).json()
      assert.deepEqual(document.alsoKnownAs, [`at://${name}2.test`])
      assert.equal(new URL(document.service[0].serviceEndpoint).port, new URL(to.url).port)
    })
  }
})
