// The page of an application that signs people in with the official OAuth client for browsers. The
// tests call the functions of the object app.
import { Agent } from '@atproto/api'
import { BrowserOAuthClient, TokenRefreshError } from '@atproto/oauth-client-browser'

const parameters = new URLSearchParams(location.search)
const settings = document.getElementById('settings').dataset
const redirect = location.origin + '/'
let client, session

async function start() {
  client = await BrowserOAuthClient.load({
    clientId: 'http://localhost?' + new URLSearchParams({ redirect_uri: redirect, scope: settings.scope }),
    handleResolver: settings.server,
    plcDirectoryUrl: settings.server,
    allowHttp: true,
    // Without one the client has its default, which is fragment.
    ...(settings.responseMode ? { responseMode: settings.responseMode } : {}),
  })
  const result = await client.init(false)
  session = result?.session
  return { did: session?.did ?? '', state: result?.state ?? '', query: parameters.toString(), mode: client.responseMode }
}

// status returns the HTTP status of getSession with a token.
async function status(token) {
  const response = await session.dpopFetch(settings.server + '/xrpc/com.atproto.server.getSession', {
    headers: { authorization: `DPoP ${token}` },
  })
  return response.status
}

globalThis.app = {
  ready: start().catch((error) => ({ error: String(error) })),
  signIn: (handle, options) => { void client.signIn(handle, options).catch((error) => { app.failed = String(error) }) },
  // signInWithPopup resolves when the popup has been closed.
  signInWithPopup: async (handle) => {
    try {
      session = await client.signIn(handle, { display: 'popup' })
      return { did: session.did }
    } catch (error) {
      return { error: String(error), denied: error?.params?.get('error') ?? '' }
    }
  },
  getSession: async () => (await new Agent(session).com.atproto.server.getSession()).data,
  updateHandle: async (handle) => (await new Agent(session).com.atproto.identity.updateHandle({ handle })).success,
  // refresh returns what getSession answers to the tokens from before and after.
  refresh: async () => {
    const before = (await session.getTokenSet(false)).access_token
    session = await client.restore(session.did, true)
    const after = (await session.getTokenSet(false)).access_token
    return { before: await status(before), after: await status(after), same: before === after }
  },
  // revoke returns what getSession answers to the token afterwards, and whether the client still
  // finds a session.
  revoke: async () => {
    const { access_token: token } = await session.getTokenSet(false)
    await client.revoke(session.did)
    const restored = await client.restore(session.did).then(() => true, (error) => error instanceof TokenRefreshError ? false : String(error))
    return { after: await status(token), restored }
  },
}
