// OAuth with the official client for servers, unchanged: a public client with the standalone server,
// and a confidential one with a server that fetches the client's documents from this test.
import assert from 'node:assert/strict'
import { createServer } from 'node:http'
import { once } from 'node:events'
import { after, before, describe, test } from 'node:test'
import { Agent, AtpAgent, XRPCError } from '@atproto/api'
import { JoseKey, NodeOAuthClient, OAuthCallbackError, TokenRefreshError, requestLocalLock } from '@atproto/oauth-client-node'
import { Browser } from './browser.mjs'
import { start, startForClients } from './server.mjs'

const password = 'correct horse'

// A store of the client, in memory.
function memory() {
  const entries = new Map()
  return {
    entries,
    set: async (key, value) => { entries.set(key, structuredClone(value)) },
    get: async (key) => structuredClone(entries.get(key)),
    del: async (key) => { entries.delete(key) },
  }
}

function refused(status, error, message) {
  return (err) => {
    assert.ok(err instanceof XRPCError, String(err))
    assert.equal(err.status, status)
    assert.equal(err.error, error)
    if (message) assert.equal(err.message, message)
    return true
  }
}

// Creates an account that is asked for a mailed code when it signs in.
async function signUp(server, name) {
  const agent = new AtpAgent({ service: server.url })
  const email = `${name}@example.com`
  await agent.createAccount({ handle: `${name}.test`, email, password })
  const s = agent.com.atproto.server
  await s.requestEmailConfirmation()
  await s.confirmEmail({ email, token: await server.code(email, 'confirm_email') })
  await s.updateEmail({ email, emailAuthFactor: true })
  return { did: agent.session.did, handle: `${name}.test`, email }
}

// Signs in on the page that the browser shows, with the second step.
async function signIn(browser, server, account) {
  await browser.press('action', 'sign-in', { identifier: account.handle, password, remember: true })
  assert.ok(browser.has('action', 'code'), browser.html)
  assert.ok(!browser.html.includes(password), 'the password is in the page of the second step')
  await browser.press('action', 'code', { code: await server.code(account.email, 'sign_in') })
}

// The whole way of a client that create makes, on a server, which may remember that the owner has
// consented.
function wholeWay(remembered, get) {
  test('sign in, second step, consent, call, refresh, revoke', async () => {
    const { server, create, callback, scope } = get()
    const alice = await signUp(server, 'alice')
    const { client, sessions } = create()
    const url = await client.authorize(alice.handle, { state: 'where I was' })
    assert.deepEqual([...url.searchParams.keys()].sort(), ['client_id', 'request_uri'])
    const browser = new Browser(server.issuer)
    await browser.open(url)
    assert.equal(browser.status, 200, browser.html)
    assert.equal(browser.fieldsOf('action', 'sign-in').find((f) => f.name === 'identifier').value, alice.handle)
    await browser.press('action', 'sign-in', { identifier: alice.handle, password: 'wrong' })
    assert.ok(browser.has('action', 'sign-in'))
    await signIn(browser, server, alice)
    assert.ok(browser.has('action', 'deny') && browser.html.includes(alice.handle), browser.html)
    await browser.press('action', 'accept')
    const { to, params } = browser.answer()
    assert.equal(to, callback)
    assert.deepEqual([...params.keys()].sort(), ['code', 'iss', 'state'])
    const { session, state } = await client.callback(params)
    assert.equal(state, 'where I was')
    assert.equal(session.did, alice.did)
    const info = await session.getTokenInfo(false)
    assert.deepEqual(info.scope.split(' ').sort(), scope.split(' ').sort())
    assert.equal(info.iss, server.issuer)

    // Calls: one that reads and one that writes.
    const agent = new Agent(session)
    const about = (await agent.com.atproto.server.getSession()).data
    assert.equal(about.did, alice.did)
    assert.equal(about.email, alice.email)
    await agent.com.atproto.identity.updateHandle({ handle: 'alice2.test' })
    assert.equal((await agent.com.atproto.server.getSession()).data.handle, 'alice2.test')

    // A service token for a method that was granted, and for one that wasn't.
    const aud = 'did:web:api.example.com#appview'
    await agent.com.atproto.server.getServiceAuth({ aud, lxm: 'app.bsky.feed.getTimeline' })
    await assert.rejects(agent.com.atproto.server.getServiceAuth({ aud, lxm: 'app.bsky.feed.getFeed' }),
      refused(403, 'ScopeMissingError', 'Missing required scope "rpc:app.bsky.feed.getFeed?aud=did:web:api.example.com%23appview"'))
    await assert.rejects(agent.com.atproto.server.listAppPasswords(), refused(403, 'Forbidden'))

    // A code is good once. Its replay ends the session, so it is tried with another one.
    const other = create()
    await browser.open(await other.client.authorize(alice.did, { prompt: 'login' }))
    await signIn(browser, server, { ...alice, handle: 'alice2.test' })
    assert.equal(browser.has('action', 'accept'), !remembered, 'only consent to a client that proves who it is is remembered')
    if (!remembered) await browser.press('action', 'accept')
    const replayed = browser.answer().params
    const stateData = structuredClone(other.states.entries.get(replayed.get('state')))
    const second = (await other.client.callback(replayed)).session
    assert.equal((await new Agent(second).com.atproto.server.getSession()).data.did, alice.did)
    other.states.entries.set(replayed.get('state'), stateData)
    await assert.rejects(other.client.callback(replayed), OAuthCallbackError)
    await assert.rejects(new Agent(second).com.atproto.server.getSession(), refused(401, 'invalid_token'))

    // A refresh. The former access token ends; the client notices and refreshes by itself.
    const before_ = sessions.entries.get(alice.did)
    await client.restore(alice.did, true)
    const after_ = sessions.entries.get(alice.did)
    assert.notEqual(after_.tokenSet.access_token, before_.tokenSet.access_token)
    assert.notEqual(after_.tokenSet.refresh_token, before_.tokenSet.refresh_token)
    sessions.entries.set(alice.did, { ...after_, tokenSet: { ...after_.tokenSet, access_token: before_.tokenSet.access_token } })
    assert.equal((await agent.com.atproto.server.getSession()).data.did, alice.did)
    const renewed = sessions.entries.get(alice.did)
    assert.notEqual(renewed.tokenSet.access_token, before_.tokenSet.access_token)
    assert.notEqual(renewed.tokenSet.access_token, after_.tokenSet.access_token)

    // The same key can use the same refresh token twice in a short time, such as after a lost answer.
    sessions.entries.set(alice.did, after_)
    await client.restore(alice.did, true)
    assert.equal((await agent.com.atproto.server.getSession()).data.did, alice.did)

    // A revocation ends the session, also for who has kept its tokens.
    const kept = sessions.entries.get(alice.did)
    await client.revoke(alice.did)
    assert.equal(sessions.entries.size, 0)
    sessions.entries.set(alice.did, kept)
    await assert.rejects(agent.com.atproto.server.getSession(), refused(401, 'invalid_token'))
    sessions.entries.set(alice.did, kept)
    await assert.rejects(client.restore(alice.did, true), TokenRefreshError)
  })

  test('the owner denies', async () => {
    const { server, create } = get()
    const bob = await signUp(server, 'bob')
    const { client } = create()
    const browser = new Browser(server.issuer)
    await browser.open(await client.authorize(bob.handle, { state: 'mine' }))
    await signIn(browser, server, bob)
    await browser.press('action', 'deny')
    const { params } = browser.answer()
    await assert.rejects(client.callback(params), (err) => {
      assert.ok(err instanceof OAuthCallbackError, String(err))
      assert.equal(err.params.get('error'), 'access_denied')
      assert.equal(err.state, 'mine')
      return true
    })
  })

  test('the owner leaves out a permission', async () => {
    const { server, create } = get()
    const carol = await signUp(server, 'carol')
    const { client } = create()
    const browser = new Browser(server.issuer)
    await browser.open(await client.authorize(carol.handle))
    await signIn(browser, server, carol)
    await browser.press('action', 'accept', {}, ['transition:email'])
    const { session } = await client.callback(browser.answer().params)
    const about = (await new Agent(session).com.atproto.server.getSession()).data
    assert.deepEqual([about.did, about.email], [carol.did, undefined])
    assert.ok(!(await session.getTokenInfo(false)).scope.includes('email'))
    await session.signOut()
  })

  for (const responseMode of ['fragment', 'form_post']) {
    test(`an answer by ${responseMode}`, async () => {
      const { server, create, callback } = get()
      const dave = await signUp(server, `dave-${responseMode.replace('_', '-')}`)
      const { client } = create({ responseMode })
      const browser = new Browser(server.issuer)
      await browser.open(await client.authorize(dave.handle))
      await signIn(browser, server, dave)
      await browser.press('action', 'accept')
      const { to, params } = browser.answer()
      assert.equal(to, callback)
      assert.equal(browser.url.search.includes('code='), false)
      const { session } = await client.callback(params)
      assert.equal((await new Agent(session).com.atproto.server.getSession()).data.did, dave.did)
    })
  }
}

const scope = 'atproto transition:email identity:handle rpc:app.bsky.feed.getTimeline?aud=did:web:api.example.com%23appview'

// What the clients of both kinds have in common.
const common = (server) => {
  const states = memory(), sessions = memory()
  const options = {
    stateStore: states, sessionStore: sessions, requestLock: requestLocalLock,
    handleResolver: server.url, plcDirectoryUrl: server.url, allowHttp: true,
  }
  return { states, sessions, options }
}

// At the callbacks of the clients nobody listens: the browser stops before them.

describe('a public client', () => {
  const callback = 'http://127.0.0.1:9999/callback'
  let server
  before(async () => { server = await start('-store', 'memory') })
  after(() => server.stop())

  const create = (more) => {
    const { states, sessions, options } = common(server)
    const client = new NodeOAuthClient({
      ...options,
      clientMetadata: {
        client_id: 'http://localhost?' + new URLSearchParams({ redirect_uri: callback, scope }),
        redirect_uris: [callback], scope, response_types: ['code'], grant_types: ['authorization_code', 'refresh_token'],
        token_endpoint_auth_method: 'none', application_type: 'native', dpop_bound_access_tokens: true,
      },
      ...more,
    })
    return { client, states, sessions }
  }
  wholeWay(false, () => ({ server, create, callback, scope }))
})

// The official client wants a confidential client to be at an https URL with a name. This server
// program fetches what is below https://app.example.test/ from the test.
describe('a confidential client', () => {
  const origin = 'https://app.example.test', callback = `${origin}/callback`
  let server, documents, key
  const served = new Map()
  before(async () => {
    documents = createServer((request, response) => {
      const body = served.get(request.url)
      response.writeHead(body ? 200 : 404, { 'content-type': 'application/json', 'cache-control': 'max-age=60' })
      response.end(JSON.stringify(body ?? { error: 'not found' }))
    }).listen(0, '127.0.0.1')
    await once(documents, 'listening')
    server = await startForClients(`http://127.0.0.1:${documents.address().port}`, origin)
    key = await JoseKey.generate(['ES256'], 'key-1')
  })
  after(async () => {
    await server.stop()
    documents.close()
  })

  const withRoutes = scope + ' repo:app.bsky.feed.post?action=create'
  const create = (more) => {
    const { states, sessions, options } = common(server)
    const client = new NodeOAuthClient({
      ...options,
      clientMetadata: {
        client_id: `${origin}/client.json`, client_name: 'Example', client_uri: origin, jwks_uri: `${origin}/jwks.json`,
        redirect_uris: [callback], scope: withRoutes, response_types: ['code'], grant_types: ['authorization_code', 'refresh_token'],
        token_endpoint_auth_method: 'private_key_jwt', token_endpoint_auth_signing_alg: 'ES256',
        application_type: 'web', dpop_bound_access_tokens: true,
      },
      keyset: [key],
      ...more,
    })
    served.set('/client.json', client.clientMetadata)
    served.set('/jwks.json', client.jwks)
    return { client, states, sessions }
  }
  wholeWay(true, () => ({ server, create, callback, scope: withRoutes }))

  test("an embedder's route with a permission of a repository", async () => {
    const erin = await signUp(server, 'erin')
    const { client } = create()
    const browser = new Browser(server.issuer)
    const post = async (session) => {
      const response = await session.fetchHandler('/posts', { method: 'POST', body: '{"text":"hello"}', headers: { 'content-type': 'application/json' } })
      return { status: response.status, ...await response.json() }
    }
    await browser.open(await client.authorize(erin.handle))
    await signIn(browser, server, erin)
    await browser.press('action', 'accept')
    assert.deepEqual(await post((await client.callback(browser.answer().params)).session), { status: 200, did: erin.did, text: 'hello' })

    await browser.open(await client.authorize(erin.handle, { scope, prompt: 'consent' }))
    await browser.press('action', 'accept')
    assert.deepEqual(await post((await client.callback(browser.answer().params)).session), {
      status: 403, error: 'ScopeMissingError', message: 'Missing required scope "repo:app.bsky.feed.post?action=create"',
    })
  })

  test('without asking again, where the owner is signed in and has consented', async () => {
    const frank = await signUp(server, 'frank')
    const { client } = create()
    const browser = new Browser(server.issuer)
    const silently = async () => {
      await browser.open(await client.authorize(frank.handle, { prompt: 'none' }))
      return browser.answer().params
    }
    await assert.rejects(client.callback(await silently()), (err) => err.params.get('error') === 'login_required')
    await browser.open(await client.authorize(frank.handle))
    await signIn(browser, server, frank)
    assert.ok(browser.html.includes('app.example.test'))
    await browser.press('action', 'accept')
    await client.callback(browser.answer().params)
    const { session } = await client.callback(await silently())
    assert.equal((await new Agent(session).com.atproto.server.getSession()).data.did, frank.did)
  })

  test('somebody else with the documents but without the key', async () => {
    const stranger = create({ keyset: [await JoseKey.generate(['ES256'], 'key-1')] })
    create() // serves the right documents again
    await assert.rejects(stranger.client.authorize(server.issuer), (err) => {
      assert.match(String(err.cause ?? err), /invalid_client/)
      return true
    })
  })
})
