/**
 * One TCP connection to one broker, on the transport of @platformatic/kafka (framing, TLS, SASL). What this adds: a request ends in an
 * answer or in `Disconnected`, which tells whether the broker may have seen it; a request that went unanswered takes its connection with
 * it, for later answers would come behind it; and nothing is left running once a connection is closed.
 */
import { AuthenticationError, Connection, type ConnectionOptions, type Reader, type Writer } from '@platformatic/kafka'
import { remedy } from './remedies.ts'
import type { KafkaSettings } from './settings.ts'

/** The connection failed, at any stage. The one error that calls throw. */
export class Disconnected extends Error {
  override readonly name = 'Disconnected'
  /** Whether the request may have reached the broker. `false` is certain; `true` means that nobody knows. */
  readonly sent: boolean
  /** Who we are, or how we speak, was not accepted: TLS, certificates, SASL. To try again as before is of little use. */
  readonly refused: boolean

  constructor(message: string, sent: boolean, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause })
    this.sent = sent
    // What lies at the bottom counts: a broker that goes away while it is asked who we are has refused nobody.
    this.refused = refusals.test(causes(cause).at(-1)?.code ?? '')
  }
}

/** Codes of errors of the transport, of TLS in Node.js and of certificates in OpenSSL. */
const refusals =
  /^(PLT_KFK_AUTHENTICATION|PLT_KFK_PROTOCOL|PLT_KFK_USER|ERR_TLS_.*|ERR_SSL_.*|EPROTO|.*CERT.*|UNABLE_TO_.*|HOSTNAME_MISMATCH)$/

/** One kind of request: https://kafka.apache.org/protocol lists keys and versions. */
export interface Api {
  readonly key: number
  readonly version: number
  /** Whether the header of the answer has tagged fields: all flexible versions but ApiVersions. */
  readonly plainAnswer?: boolean
}

/** `[lowest, highest]` version that a broker takes, by API key. */
export type ApiRanges = ReadonlyMap<number, readonly [number, number]>

/** What a broker says of itself (ApiVersions v4). */
export interface BrokerVersions {
  readonly ranges: ApiRanges
  /** Finalized features of the cluster, such as `transaction.version`, by name. */
  readonly features: ReadonlyMap<string, number>
}

/** A timer of Node.js takes 32 bits; ours, set for each request, end earlier. */
const never = 2 ** 31 - 1

/** A request without an answer. */
interface Pending {
  sent: boolean
  readonly fail: (failure: Disconnected) => void
}

export class Conn {
  /** For messages: 'produce to kafka-1:9092'. */
  readonly label: string
  readonly host: string
  readonly port: number
  /** Of this very broker: during a rolling upgrade they differ. Set by `KafkaClient` before it hands the connection out. */
  versions: BrokerVersions = { ranges: new Map(), features: new Map() }

  readonly #transport: Connection
  readonly #settings: KafkaSettings
  readonly #pending = new Set<Pending>()
  /** Requests that wait for a session to be prolonged, in order. */
  readonly #held: (() => void)[] = []
  readonly #onClose: ((conn: Conn) => void) | undefined
  #failure: string | undefined
  #cause: unknown
  #answered = false
  /** Closed by `close`. */
  #ours = false

  private constructor(host: string, port: number, purpose: string, settings: KafkaSettings, onClose?: (conn: Conn) => void) {
    this.host = host
    this.port = port
    this.label = `${purpose} to ${host}:${port}`
    this.#settings = settings
    this.#onClose = onClose
    this.#transport = new Connection(settings.clientId, transportOptions(settings))
    // Without a listener an 'error' event would end the process.
    this.#transport.on('error', error => this.#fail('failed', error))
    this.#transport.on('connect', () => this.#held.splice(0).forEach(send => send()))
    this.#transport.on('close', () => this.#fail('was closed by the broker'))
  }

  /** @throws Disconnected, with `sent: false`, also where the broker refuses who we are */
  static async open(
    host: string,
    port: number,
    purpose: string,
    settings: KafkaSettings,
    hooks: { readonly onClose?: (conn: Conn) => void; readonly onDial?: (conn: Conn) => void } = {},
  ): Promise<Conn> {
    const conn = new Conn(host, port, purpose, settings, hooks.onClose)
    hooks.onDial?.(conn)
    try {
      await conn.#transport.connect(host, port)
    } catch (cause) {
      conn.#fail('failed', cause)
    }
    if (conn.closed) throw conn.#disconnected(false)
    return conn
  }

  get closed(): boolean {
    return this.#failure !== undefined
  }

  /** Whatever waits for an answer fails with `Disconnected`. */
  close(): void {
    this.#ours ||= !this.closed
    this.#fail('was closed')
  }

  /**
   * Sends a request and gives back what `parse` makes of the answer. Requests are sent in the order of the calls, without waiting for
   * the answers of those before.
   * @param timeout milliseconds until the connection is given up; the settings' `requestTimeout` unless said otherwise
   * @throws Disconnected
   */
  request<Answer>(api: Api, body: Writer, parse: (reader: Reader) => Answer, timeout = this.#settings.requestTimeout): Promise<Answer> {
    if (this.closed) return Promise.reject(this.#disconnected(false))
    const { promise, resolve, reject } = Promise.withResolvers<Answer>()
    const timer = setTimeout(() => this.#fail(`gave no answer for ${timeout} ms`), timeout)
    const settle = (): boolean => {
      clearTimeout(timer)
      return this.#pending.delete(pending)
    }
    const pending: Pending = {
      sent: false,
      fail: failure => settle() && reject(failure),
    }
    const send = (): void => {
      if (this.closed) return
      pending.sent = true
      this.#transport.send<Answer>(
        api.key,
        api.version,
        () => body,
        (_id, _key, _version, reader) => parse(reader),
        true,
        api.plainAnswer !== true,
        (error, answer) => {
          // What we cannot read leaves the connection in a state that we do not know.
          if (error !== null) this.#fail('gave an answer that could not be read', error)
          else {
            // Which requests it takes a broker tells everybody.
            this.#answered ||= api.key !== 18
            if (settle()) resolve(answer as Answer)
          }
        },
      )
    }
    this.#pending.add(pending)
    // While a session is prolonged the broker takes nothing but the proof of who we are.
    if (this.#transport.status === 'reauthenticating') this.#held.push(send)
    else send()
    return promise
  }

  #fail(why: string, cause?: unknown): void {
    if (this.#failure !== undefined) return
    this.#failure = `the connection for ${this.label} ${why}`
    this.#cause = cause
    // `close` ends the transport's own timers; it alone would wait for a broker that was stopped.
    void Promise.resolve(this.#transport.close()).catch(() => {})
    // There is none where the transport never came to dial.
    const socket = this.#transport.socket as Connection['socket'] | undefined
    socket?.on('error', () => {}).destroy()
    for (const { sent, fail } of this.#pending) fail(this.#disconnected(sent))
    this.#onClose?.(this)
  }

  #disconnected(sent: boolean): Disconnected {
    const cause = this.#cause
    const failure = this.#failure ?? ''
    const said = cause === undefined ? failure : `${failure}: ${reason(cause)}`
    // What we did ourselves needs no remedy.
    const about = { code: causes(cause).at(-1)?.code ?? '', said, answered: this.#answered }
    const way = this.#ours ? undefined : remedy(about, this.#settings)
    return new Disconnected(way === undefined ? said : `${said}. ${way}`, sent, cause)
  }
}

/** The innermost message that says something: the transport wraps what happened in 'Connection to … failed'. */
function reason(cause: unknown): string {
  const chain = causes(cause)
  const told = chain.find(({ code }) => code === 'PLT_KFK_USER') ?? chain.at(-1)
  // Those of OpenSSL go over several lines.
  return (told?.message ?? String(cause)).replace(/\s+/g, ' ').trim()
}

/** An error, its cause, the cause of that, and so on. */
function causes(error: unknown): (Error & { readonly code?: string })[] {
  if (!(error instanceof Error)) return []
  const first: unknown = error instanceof AggregateError ? error.errors[0] : undefined
  return [error, ...causes(first ?? error.cause)]
}

function transportOptions(settings: KafkaSettings): ConnectionOptions {
  const { tls, sasl } = settings
  const options: ConnectionOptions = {
    connectTimeout: settings.connectTimeout,
    requestTimeout: never,
    // The transport would hold requests back and not tell. How many are in flight is the caller's affair.
    maxInflights: never,
  }
  if (tls !== undefined) {
    const { servername, ...files } = tls
    options.tls = files
    // Without it Node.js looks for the host in the certificate.
    if (servername !== undefined) options.tlsServerName = servername
  }
  if (sasl?.mechanism === 'OAUTHBEARER') options.sasl = { ...sasl, authBytesValidator: refusal }
  else if (sasl !== undefined) options.sasl = { ...sasl }
  return options
}

/** A broker refuses a token by saying why and waiting for an empty answer, which the transport would take for a welcome (RFC 7628, 3.2.2). */
function refusal(said: Buffer, done: (error: Error | null, said: Buffer) => void): void {
  done(said.length === 0 ? null : new AuthenticationError(`the token was refused: ${said.toString()}`), said)
}
