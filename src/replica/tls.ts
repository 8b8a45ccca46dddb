/** A certificate and its key, from files: checked at the start, and taken up again when they have changed. */
import { X509Certificate, createPrivateKey } from 'node:crypto'
import { readFileSync, statSync } from 'node:fs'
import { EngineError } from '../errors.ts'
import { markOf, type Notice, tellIfOpen } from './file.ts'

export interface Tls {
  /** A file with the certificate in PEM, and those that lead to the issuer's behind it. */
  readonly cert: string
  /** A file with its private key in PEM, without a passphrase. */
  readonly key: string
}

export interface Credentials {
  readonly cert: Buffer
  readonly key: Buffer
}

/** How often files are looked at, ms. */
const LOOK = 10_000

/** @throws EngineError invalid-option that names the file and what is wrong with it */
export function readTls({ cert, key }: Tls, notice: Notice): Credentials {
  const refuse = (message: string, cause?: unknown) => new EngineError('invalid-option', message, { cause })
  const read = (path: string, what: string) => {
    try {
      return readFileSync(path)
    } catch (cause) {
      const { code, message } = cause as NodeJS.ErrnoException
      throw refuse(`the ${what} ${path} cannot be read: ${code === 'ENOENT' ? 'it is not there' : message}`, cause)
    }
  }
  const chain = read(cert, 'certificate')
  const secret = read(key, 'key')
  let certificate: X509Certificate
  try {
    certificate = new X509Certificate(chain)
  } catch (cause) {
    throw refuse(`the certificate ${cert} is not one in PEM`, cause)
  }
  let fits: boolean
  try {
    fits = certificate.checkPrivateKey(createPrivateKey(secret))
  } catch {
    // What OpenSSL says of a key stays here.
    const locked = secret.includes('ENCRYPTED')
    throw refuse(
      `the key ${key} ${locked ? 'has a passphrase: take it off, and keep the file to yourself' : 'is not a private one in PEM'}`,
    )
  }
  if (!fits) throw refuse(`the key ${key} is not that of the certificate ${cert}`)
  const until = new Date(certificate.validTo)
  if (until.getTime() < Date.now()) notice(`the certificate ${cert} was good until ${until.toISOString()}: clients will refuse it`)
  tellIfOpen(key, statSync(key), 'the key', notice)
  return { cert: chain, key: secret }
}

/** Gives a server a renewed certificate; connections that are there keep theirs. @returns what ends it */
export function renewTls(server: { setSecureContext(given: Credentials): void }, options: Tls, notice: Notice): () => void {
  const mark = () =>
    [options.cert, options.key]
      .map(path => statSync(path, { throwIfNoEntry: false }))
      .map(stats => stats && markOf(stats))
      .join()
  let known = mark()
  const timer = setInterval(() => {
    const now = mark()
    if (now === known) return
    try {
      server.setSecureContext(readTls(options, notice))
    } catch (error) {
      notice(`the former certificate stays: ${(error as Error).message}`)
    }
    known = now
  }, LOOK)
  timer.unref()
  return () => clearInterval(timer)
}
