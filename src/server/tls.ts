/** TLS by files. */
import { readFileSync } from 'node:fs'
import { EngineError } from '../errors.ts'

export interface Tls {
  /** Paths of PEM files: the chain of certificates, and the private key. */
  readonly cert: string
  readonly key: string
}

/** @throws EngineError invalid-option */
export function readTls({ cert, key }: Tls): { readonly cert: Buffer; readonly key: Buffer } {
  try {
    return { cert: readFileSync(cert), key: readFileSync(key) }
  } catch (cause) {
    throw new EngineError('invalid-option', `the files of TLS cannot be read: ${(cause as Error).message}`, { cause })
  }
}
