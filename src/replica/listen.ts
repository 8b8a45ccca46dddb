/** Where a replica listens for those on other machines, and who may come: as the options say, and the environment. */
import { readFileSync } from 'node:fs'
import { EngineError } from '../errors.ts'
import { checkKeys } from './options.ts'
import { readTls, type Tls } from './tls.ts'

export interface Listen {
  /** Default: 127.0.0.1, this machine alone. Any other needs a secret. */
  readonly host?: string
  /** Default: any that is free. */
  readonly port?: number
  /** The URL by which the others reach this replica. Default: made of host and port. */
  readonly advertise?: string
  /** What all replicas of the log share. */
  readonly secret?: string
  /** Speak TLS. What the others do not trust by themselves (Node's own authorities), NODE_EXTRA_CA_CERTS makes them trust. */
  readonly tls?: Tls
}

const LISTEN_KEYS: ReadonlySet<string> = new Set(['host', 'port', 'advertise', 'secret', 'tls'])

/** What is wrong with it is told before anything is opened. @throws EngineError invalid-option */
export function checkListen({ host = '127.0.0.1', port = 0, advertise, secret, tls }: Listen): void {
  const refuse = (message: string) => new EngineError('invalid-option', message)
  if (!Number.isInteger(port) || port < 0 || port > 65_535) throw refuse(`listen.port is from 0 to 65,535, not ${JSON.stringify(port)}`)
  if (secret !== undefined && !/^[!-~]+$/.test(secret)) throw refuse('the secret is visible ASCII characters without spaces')
  if (advertise !== undefined && !/^https?:$/.test(URL.parse(advertise)?.protocol ?? ''))
    throw refuse(`listen.advertise is a URL such as http://replica-1.example.net:7878, not ${JSON.stringify(advertise)}`)
  if (tls) readTls(tls, () => {})
  if (secret !== undefined) return
  const open = !isLoopback(host) ? host : advertise !== undefined && !isLoopback(new URL(advertise).hostname) ? advertise : undefined
  if (open !== undefined)
    throw refuse(
      `whoever reaches ${open} could write into the log. Give all replicas one secret (listen.secret, MAINSTEM_SECRET or MAINSTEM_SECRET_FILE)`,
    )
}

export const isLoopback = (host: string): boolean =>
  host === 'localhost' || host === '::1' || host === '[::1]' || /^127(\.\d{1,3}){3}$/.test(host)

/** Where the others shall reach this replica: as the options say, and what they leave open, as the environment does. @throws EngineError invalid-option */
export function listenOf(listen: Listen | undefined, env: NodeJS.ProcessEnv): Listen {
  if (listen !== undefined) checkKeys(listen, LISTEN_KEYS, 'listen')
  const place = listen?.host === undefined && listen?.port === undefined ? placeOf(env.MAINSTEM_LISTEN) : {}
  const advertise = env.MAINSTEM_ADVERTISE || undefined
  const secret = listen?.secret ?? secretOf(env)
  const tls = listen?.tls ?? tlsOf(env)
  const known = { ...(secret === undefined ? {} : { secret }), ...(tls === undefined ? {} : { tls }) }
  return { ...place, ...(advertise === undefined ? {} : { advertise }), ...listen, ...known }
}

/** '0.0.0.0:7878', '[::]:7878', ':7878' for all addresses, '7878' for this machine, or a host alone. */
function placeOf(text: string | undefined): Listen {
  if (text === undefined || text === '') return {}
  if (/^\d+$/.test(text)) return { port: Number(text) }
  const found = /^(?:\[([^\]]+)\]|([^:]*))(?::(\d+))?$/.exec(text)
  if (!found) throw new EngineError('invalid-option', `MAINSTEM_LISTEN is HOST:PORT, such as 0.0.0.0:7878; not ${JSON.stringify(text)}`)
  const host = found[1] ?? found[2]
  return { host: host === undefined || host === '' ? '0.0.0.0' : host, ...(found[3] === undefined ? {} : { port: Number(found[3]) }) }
}

function tlsOf({ MAINSTEM_LISTEN_CERT: cert, MAINSTEM_LISTEN_KEY: key }: NodeJS.ProcessEnv): Tls | undefined {
  if (!cert && !key) return undefined
  if (cert && key) return { cert, key }
  throw new EngineError('invalid-option', 'a certificate and its key belong together: set MAINSTEM_LISTEN_CERT and MAINSTEM_LISTEN_KEY')
}

function secretOf(env: NodeJS.ProcessEnv): string | undefined {
  const file = env.MAINSTEM_SECRET_FILE
  if (env.MAINSTEM_SECRET || !file) return env.MAINSTEM_SECRET || undefined
  try {
    return readFileSync(file, 'utf8').trim()
  } catch (cause) {
    throw new EngineError('invalid-option', `MAINSTEM_SECRET_FILE cannot be read: ${(cause as Error).message}`, { cause })
  }
}
