// Runs the public suite `http-cache-tests` against one cache and prints what came of it, a JSON line a test.
//
//   node http_cache_tests.mjs SUITE [TEST]
//
// The suite's own programs serve on every address of the machine and at a port they are told; this one serves its origin on loopback
// at a port from the kernel, prints `origin PORT`, and waits for the cache's URL on its standard input. With TEST, that test
// alone, and its requests and responses as the suite shows them.

import http from 'node:http'
import path from 'node:path'
import readline from 'node:readline'
import { createRequire } from 'node:module'
import { pathToFileURL } from 'node:url'

const suite = path.resolve(process.argv[2])
const only = process.argv[3]
const of = (file) => import(pathToFileURL(path.join(suite, file)).href)

const handlers = {}
for (const name of ['config', 'state', 'test']) {
  handlers[name] = (await of(`server/handle-${name}.mjs`)).default
}
const server = http.createServer((request, response) => {
  const [, name, ...rest] = new URL(request.url, 'http://origin/').pathname.split('/')
  const handle = handlers[name]
  if (handle) return handle(rest, request, response)
  response.statusCode = 404
  response.end()
})
server.listen(0, '127.0.0.1', () => console.log(`origin ${server.address().port}`))
const base = await new Promise((resolve) => readline.createInterface({ input: process.stdin }).once('line', resolve))

const print = console.log
if (!only) console.log = () => {}
const suites = (await of('tests/index.mjs')).default
suites.push((await of('tests/surrogate-control.mjs')).default)
const chosen = suites.map((one) => ({
  ...one,
  tests: one.tests.filter((test) => !only || test.id === only).map((test) => ({ ...test, dump: Boolean(only) }))
}))
// The client the suite was written for: a browser's own would follow other rules.
const fetch = createRequire(path.join(suite, 'cli.mjs'))('node-fetch')
const { runTests, getResults } = await of('client/runner.mjs')
const { determineTestResult } = await of('lib/display.mjs')
await runTests(chosen, fetch, false, base)

const results = getResults()
for (const test of chosen.flatMap((one) => one.tests)) {
  const result = results[test.id]
  if (result === undefined) continue
  const symbol = determineTestResult(suites, test.id, results)[2]
  print(JSON.stringify({
    id: test.id,
    kind: test.kind ?? 'required',
    passed: symbol === '✅' || symbol === 'Y',
    said: result === true ? (symbol === '⚪️' ? 'a test it depends on failed' : '') : result.join(': ')
  }))
}
process.exit(0)
