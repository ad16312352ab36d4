// Tests that a real directory server accepts the DIDs that Gatehouse creates.
import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { AtpAgent } from '@atproto/api'
import plc from '@did-plc/server'
import { start } from './server.mjs'

describe('with a PLC directory', () => {
  let directory, server, url
  before(async () => {
    const db = plc.Database.mock()
    directory = plc.PlcServer.create({ db, port: 0 })
    const listener = await directory.start()
    url = `http://127.0.0.1:${listener.address().port}`
    server = await start('-store', 'memory', '-plc', url)
  })
  after(async () => {
    await server.stop()
    await directory.destroy()
  })

  test('sign-up makes a DID there', async () => {
    const a = new AtpAgent({ service: server.url })
    const created = await a.createAccount({ handle: 'alice.test', email: 'alice@example.com', password: 'correct horse' })
    const { did } = created.data
    const doc = await (await fetch(`${url}/${did}`)).json()
    assert.equal(doc.id, did)
    assert.deepEqual(doc.alsoKnownAs, ['at://alice.test'])
    assert.equal(doc.service[0].serviceEndpoint, server.url.replace('127.0.0.1', 'localhost'))
    const log = await (await fetch(`${url}/${did}/log`)).json()
    assert.equal(log.length, 1)
    assert.equal(log[0].prev, null)
  })

  test("a user's recovery key comes before the server's", async () => {
    const a = new AtpAgent({ service: server.url })
    const { signingKey: recoveryKey } = (await a.com.atproto.server.reserveSigningKey({})).data // any key will do
    const created = await a.createAccount({ handle: 'bob.test', email: 'bob@example.com', password: 'correct horse', recoveryKey })
    const data = await (await fetch(`${url}/${created.data.did}/data`)).json()
    assert.equal(data.rotationKeys.length, 2)
    assert.equal(data.rotationKeys[0], recoveryKey)
  })
})
