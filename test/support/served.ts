/**
 * A server in a process of its own, so that its memory is its own, and all that it prints can be read. Tells its URL, and on any message what it
 * holds after it has tidied up.
 */
import { type AccessOptions, bearer, serve, type ServeOptions } from '../../src/server.ts'
import shop from './shop.ts'

export interface Orders {
  readonly access: AccessOptions
  readonly options: Partial<ServeOptions> & Pick<ServeOptions, 'log'>
}

const { access, options } = JSON.parse(process.argv[2]!) as Orders
const served = await serve(shop, { port: 0, drain: 0, access: bearer(access), ...options })
await served.ready
process.send!(served.url)

process.on('message', () => {
  globalThis.gc!()
  globalThis.gc!()
  const { heapUsed, external } = process.memoryUsage()
  process.send!(heapUsed + external)
})
