/** A way out where a connection comes to nothing: which setting to look at. Settings by name, never by value: some of them are secret. */
import type { KafkaSettings } from './settings.ts'

interface Failed {
  /** At the bottom of it: of the transport, of TLS in Node.js, of certificates in OpenSSL, or of the network. */
  readonly code: string
  /** What the broker, or the transport, has to say. */
  readonly said: string
  /** Something was answered before, beyond what a broker tells everybody. */
  readonly answered: boolean
}

export function remedy({ code, said, answered }: Failed, { tls, sasl }: KafkaSettings): string | undefined {
  if (code === 'ENOTFOUND' || code === 'EAI_AGAIN')
    return "Look at the names of the hosts, in the log's URL (or KAFKA_BROKERS) and in advertised.listeners of the brokers"
  if (code === 'ECONNREFUSED') return "Look whether a broker runs there, and at host and port in the log's URL (or KAFKA_BROKERS)"
  if (said.includes('requires TLS')) return 'Set KAFKA_SSL=true, and KAFKA_SSL_CA where its authority is a private one'
  if (said.includes('TLS handshake failed')) return 'Where that port takes no TLS, leave KAFKA_SSL out or name another port'
  if (code === 'ERR_TLS_CERT_ALTNAME_INVALID') return 'Name the host as its certificate does, or set KAFKA_SSL_SERVERNAME to that name'
  if (/^ERR_SSL_.*ALERT/.test(code)) {
    return tls?.cert === undefined
      ? 'Where it asks for a certificate, set KAFKA_SSL_CERT and KAFKA_SSL_KEY'
      : 'Look whether the brokers trust the certificate of KAFKA_SSL_CERT'
  }
  if (/SELF_SIGNED|^UNABLE_TO_/.test(code)) return "Set KAFKA_SSL_CA to the certificate of the authority that signed the brokers'"
  if (sasl !== undefined) {
    if (said.includes('current SASL state')) return 'That port asks for no user: leave KAFKA_SASL_MECHANISM out, or name another port'
    if (/mechanism/i.test(said)) return `Set KAFKA_SASL_MECHANISM to one that the brokers take; it is ${sasl.mechanism}`
    if (code === 'PLT_KFK_AUTHENTICATION' || code === 'PLT_KFK_PROTOCOL') {
      return sasl.mechanism === 'OAUTHBEARER'
        ? 'Look at KAFKA_SASL_TOKEN (or KAFKA_SASL_TOKEN_FILE)'
        : `Look at KAFKA_SASL_USERNAME and KAFKA_SASL_PASSWORD (or their _FILE), and whether the user is known for ${sasl.mechanism}`
    }
  }
  // It hangs up on a client that it does not understand, without a word.
  if (!answered && (tls === undefined || sasl === undefined) && /closed|ECONNRESET/.test(`${said} ${code}`)) {
    const missing = [...(tls === undefined ? ['TLS (KAFKA_SSL)'] : []), ...(sasl === undefined ? ['a user (KAFKA_SASL_MECHANISM)'] : [])]
    return `It has answered nothing: where it asks for ${missing.join(' or ')}, set that`
  }
  return undefined
}
