// A browser without JavaScript: it keeps cookies, follows redirects, and reads and sends forms.
import assert from 'node:assert/strict'
import { request as httpRequest } from 'node:http'

// How many redirects are followed in a row.
const maxRedirects = 10

const entities = { amp: '&', lt: '<', gt: '>', quot: '"', apos: "'" }

function decode(text) {
  return text.replace(/&(?:#x([0-9a-f]+)|#(\d+)|([a-z]+));/gi, (all, hex, decimal, name) => {
    if (hex) return String.fromCodePoint(parseInt(hex, 16))
    if (decimal) return String.fromCodePoint(Number(decimal))
    return entities[name.toLowerCase()] ?? all
  })
}

// Returns the attributes of a start tag. Those without a value are ''.
function attributes(tag) {
  const found = {}
  for (const [, name, quoted, single, bare] of tag.replace(/^<\/?[a-z0-9]+/i, '').matchAll(/([^\s=/>]+)(?:\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s>]+)))?/g)) {
    found[name.toLowerCase()] = decode(quoted ?? single ?? bare ?? '')
  }
  return found
}

// Returns the forms of a document: where each is sent, its fields as they are at first, and its
// buttons.
function readForms(html, url) {
  return [...html.matchAll(/<form\b[^>]*>[\s\S]*?<\/form>/gi)].map(([whole]) => {
    const form = attributes(whole.match(/^<form\b[^>]*>/i)[0])
    const fields = []
    for (const [tag] of whole.matchAll(/<input\b[^>]*>/gi)) {
      const field = attributes(tag)
      if (!field.name || field.disabled !== undefined || ['submit', 'image', 'reset'].includes(field.type)) continue
      const box = field.type === 'checkbox' || field.type === 'radio'
      fields.push({ name: field.name, type: field.type ?? 'text', value: field.value ?? (box ? 'on' : ''), checked: !box || field.checked !== undefined })
    }
    const buttons = [...whole.matchAll(/<button\b[^>]*>/gi)].map(([tag]) => attributes(tag)).map(({ name, value, type }) => ({ name, value, type: type ?? 'submit' }))
    return { action: new URL(form.action || url, url), method: (form.method ?? 'get').toLowerCase(), fields, buttons }
  })
}

// Sends a request. fetch would say Sec-Fetch-Mode: cors, which no navigation of a browser does.
function send(url, { method, body, headers }) {
  return new Promise((resolve, reject) => {
    const request = httpRequest(url, { method, headers: { ...headers, ...(body ? { 'content-length': Buffer.byteLength(body) } : {}) } }, (response) => {
      let html = ''
      response.setEncoding('utf8')
      response.on('data', (chunk) => { html += chunk })
      response.on('end', () => resolve({ status: response.statusCode, headers: response.headers, html }))
      response.on('error', reject)
    })
    request.on('error', reject)
    request.end(body)
  })
}

export class Browser {
  #cookies = new Map() // by origin and name
  // The page that is shown. At an address outside of the server it is only the address.
  url; status; headers; html; forms = []

  // inside tells which addresses are fetched. At a redirect to another one the browser stops: it is
  // the application's.
  constructor(server) {
    this.inside = (url) => url.origin === new URL(server).origin
  }

  #cookieHeader(url) {
    return [...this.#cookies].filter(([key]) => key.startsWith(url.origin + ' ')).map(([key, value]) => `${key.split(' ')[1]}=${value}`).join('; ')
  }

  #keep(url, response) {
    for (const cookie of response.headers['set-cookie'] ?? []) {
      const [pair, ...rest] = cookie.split(/;\s*/)
      const [name, ...value] = pair.split('=')
      const gone = rest.some((a) => /^max-age=(0|-\d+)$/i.test(a))
      assert.ok(rest.some((a) => /^httponly$/i.test(a)), `a cookie that scripts can read: ${name}`)
      assert.ok(rest.some((a) => /^samesite=(lax|strict)$/i.test(a)), `a cookie for other sites: ${name}`)
      if (gone) this.#cookies.delete(`${url.origin} ${name}`)
      else this.#cookies.set(`${url.origin} ${name}`, value.join('='))
    }
  }

  async open(url) {
    await this.#go(new URL(url), { method: 'GET' }, 'none')
  }

  async #go(url, init, site) {
    for (let n = 0; n < maxRedirects; n++) {
      Object.assign(this, { url, status: undefined, headers: undefined, html: undefined, forms: [] })
      if (!this.inside(url)) return
      const response = await send(url, {
        ...init,
        headers: {
          accept: 'text/html', 'sec-fetch-mode': 'navigate', 'sec-fetch-dest': 'document', 'sec-fetch-site': site,
          ...(this.#cookieHeader(url) ? { cookie: this.#cookieHeader(url) } : {}),
          ...(init.method === 'POST' ? { origin: url.origin, 'content-type': 'application/x-www-form-urlencoded' } : {}),
        },
      })
      this.#keep(url, response)
      const { status, headers, html } = response
      const { location } = headers
      if (status >= 300 && status < 400 && location) {
        url = new URL(location, url)
        init = { method: 'GET' }
        continue
      }
      Object.assign(this, { status, headers, html, forms: readForms(html, url) })
      return
    }
    throw new Error(`redirected more than ${maxRedirects} times, to ${url}`)
  }

  // Reports whether the page has a button.
  has(name, value) {
    return this.forms.some((f) => f.buttons.some((b) => b.name === name && b.value === value))
  }

  // The names of the fields of the form with a button.
  fieldsOf(name, value) {
    return this.#formOf(name, value).fields
  }

  #formOf(name, value) {
    const form = this.forms.find((f) => f.buttons.some((b) => b.name === name && b.value === value))
    assert.ok(form, `no button ${name}=${value} at ${this.url} (${this.status}): ${this.html?.replace(/<[^>]*>/g, ' ').replace(/\s+/g, ' ')}`)
    return form
  }

  // Fills in the form with a button and presses that. Of the checkboxes, those in untick are not
  // ticked.
  async press(name, value, fill = {}, untick = []) {
    const form = this.#formOf(name, value)
    const body = new URLSearchParams()
    const left = new Set(Object.keys(fill))
    for (const field of form.fields) {
      if (field.type === 'checkbox') {
        const ticked = left.has(field.name) ? fill[field.name] : field.checked
        left.delete(field.name)
        if (ticked && !untick.includes(field.value)) body.append(field.name, field.value)
      } else if (field.checked) {
        body.append(field.name, left.delete(field.name) ? fill[field.name] : field.value)
      }
    }
    assert.deepEqual([...left], [], 'fields that are not in the form')
    body.append(name, value)
    assert.equal(form.method, 'post')
    await this.#go(form.action, { method: 'POST', body: body.toString() }, 'same-origin')
  }

  // The parameters of the answer that the application has been sent: in the query, in the fragment,
  // or in the form of the page.
  answer() {
    if (this.inside(this.url)) {
      const form = this.forms.find((f) => !this.inside(f.action))
      assert.ok(form, `no answer at ${this.url} (${this.status}): ${this.html}`)
      assert.equal(form.method, 'post')
      return { to: form.action.href, params: new URLSearchParams(form.fields.map((f) => [f.name, f.value])) }
    }
    const { search, hash } = this.url
    const to = new URL(this.url)
    to.search = to.hash = ''
    assert.ok(!search || !hash, `an answer in two places: ${this.url}`)
    return { to: to.href, params: new URLSearchParams(hash ? hash.slice(1) : search) }
  }
}
