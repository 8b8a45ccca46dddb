/** Certificates that their owners have signed themselves, for 127.0.0.1. */
import { spawnSync } from 'node:child_process'

/** @param path without its ending: .pem and .key are made */
export function selfSigned(path: string, name: string): void {
  const subject = ['-subj', `/CN=${name}`, '-addext', 'subjectAltName=IP:127.0.0.1', '-days', '3650']
  const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-keyout', `${path}.key`]
  openssl('req', '-x509', ...key, '-out', `${path}.pem`, ...subject)
}

export function openssl(...args: string[]): void {
  const { status, stderr } = spawnSync('openssl', args, { encoding: 'utf8' })
  if (status !== 0) throw new Error(`openssl ${args[0]}: ${stderr}`)
}
