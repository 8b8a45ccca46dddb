import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import { EngineError } from '../../src/errors.ts'
import { kafkaSettings } from '../../src/log/kafka/settings.ts'

const folder = mkdtempSync(join(tmpdir(), 'mainstem-settings-'))
afterAll(() => rmSync(folder, { recursive: true }))

function file(name: string, text: string): string {
  const path = join(folder, name)
  writeFileSync(path, text)
  return path
}

const url = 'kafka://localhost/orders'

/** Made for this test, signed by itself. */
const certificate = `-----BEGIN CERTIFICATE-----
MIIBdTCCARugAwIBAgIUbIQEkZhluGDTIGhD98DxJHn2S88wCgYIKoZIzj0EAwIw
DzENMAsGA1UEAwwEdGVzdDAgFw0yNjExMjYxNzA1NDFaGA8yMTI2MTEwMjE3MDU0
MVowDzENMAsGA1UEAwwEdGVzdDBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABHFC
9Onjy9Pc05PkQ2DpGO74qmscv5zH66oS40SAt9AzWbTXFgo7INlP5N6OTvrGt/z/
mAwpit5CbC5Zn+0yk26jUzBRMB0GA1UdDgQWBBS13vOR9UBShUsLGxE4f9zg3cx+
9zAfBgNVHSMEGDAWgBS13vOR9UBShUsLGxE4f9zg3cx+9zAPBgNVHRMBAf8EBTAD
AQH/MAoGCCqGSM49BAMCA0gAMEUCIQDZjwt97jIDxCS2Ha23vcRmDNCpKt1CdI1l
wYoukX3YpAIgCsgaUstzM6jF3OU7B4h9DMVsBNi+rXVilKORmhH0z9M=
-----END CERTIFICATE-----
`
const privateKey = `-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgL1kw8thb8pE21FZo
g8FmbLJ7OAjiBRsNqxWT+iqHM7ihRANCAARxQvTp48vT3NOT5ENg6Rju+KprHL+c
x+uqEuNEgLfQM1m01xYKOyDZT+Tejk76xrf8/5gMKYreQmwuWZ/tMpNu
-----END PRIVATE KEY-----
`
const settings = (env: Record<string, string>) => kafkaSettings(url, env).settings

function refusal(url: string, env: Record<string, string> = {}): string {
  try {
    kafkaSettings(url, env)
  } catch (error) {
    if (error instanceof EngineError && error.code === 'invalid-option') return error.message
    throw error
  }
  throw new Error('it was taken')
}

describe('the URL', () => {
  test.each([
    ['kafka://a:1/t', [{ host: 'a', port: 1 }]],
    ['kafka://a/t', [{ host: 'a', port: 9092 }]],
    [
      'kafka://a:1,b.example.org,c:65535/t',
      [
        { host: 'a', port: 1 },
        { host: 'b.example.org', port: 9092 },
        { host: 'c', port: 65_535 },
      ],
    ],
    [
      'kafka://[::1]:9093,10.0.0.1/t',
      [
        { host: '::1', port: 9093 },
        { host: '10.0.0.1', port: 9092 },
      ],
    ],
  ])('%s', (url, bootstrap) => {
    expect(kafkaSettings(url, { KAFKA_BROKERS: 'other:1' })).toMatchObject({ topic: 't', settings: { bootstrap, clientId: 'mainstem' } })
  })

  test.each(['kafka:t', 'kafka:///t'])('%s takes the brokers of the environment', url => {
    expect(kafkaSettings(url, { KAFKA_BROKERS: 'a:1, b' })).toMatchObject({
      topic: 't',
      settings: {
        bootstrap: [
          { host: 'a', port: 1 },
          { host: 'b', port: 9092 },
        ],
      },
    })
    expect(refusal(url)).toContain('KAFKA_BROKERS')
    expect(refusal(url, { KAFKA_BROKERS: '' })).toContain('KAFKA_BROKERS')
    expect(refusal(url, { KAFKA_BROKERS: 'a:b' })).toContain('KAFKA_BROKERS names a broker')
  })

  test.each([
    ['kafka://a', 'names no log'],
    ['kafka://a/', 'names no topic'],
    ['kafka:', 'names no topic'],
    ['kafka://a/t/u', 'names no log'],
    ['kafka://a/t?x=1', 'no name of a topic'],
    ['kafka://a/ä', 'no name of a topic'],
    ['kafka://a/.', 'no name of a topic'],
    ['kafka://a/..', 'no name of a topic'],
    [`kafka://a/${'t'.repeat(250)}`, 'no name of a topic'],
    ['kafka://a:0/t', 'port 1 to 65535'],
    ['kafka://a:65536/t', 'port 1 to 65535'],
    ['kafka://a:x/t', 'port 1 to 65535'],
    ['kafka://a,,b/t', 'port 1 to 65535'],
    ['kafka://::1/t', 'port 1 to 65535'],
    ['file:x', 'names no log'],
  ])('%s is refused', (url, why) => {
    expect(refusal(url)).toContain(why)
  })

  test.each(['kafka://me:s3cret@a/t', 'kafka://s3cret@a/t', 'kafka:me:s3cret@t', 'kafka://a,me:s3cret@b/t'])(
    '%s is refused without being told',
    url => {
      expect(refusal(url)).toContain('KAFKA_SASL_PASSWORD_FILE')
      expect(refusal(url)).not.toContain('s3cret')
    },
  )

  test('a password among the brokers is not told either', () => {
    expect(refusal('kafka:t', { KAFKA_BROKERS: 'me:s3cret@a' })).not.toContain('s3cret')
  })
})

describe('the environment', () => {
  test('without anything: no TLS, no SASL', () => {
    expect(settings({})).toEqual({
      bootstrap: [{ host: 'localhost', port: 9092 }],
      clientId: 'mainstem',
      requestTimeout: 30_000,
      connectTimeout: 5_000,
    })
    expect(settings({ KAFKA_CLIENT_ID: 'me-1' }).clientId).toBe('me-1')
    expect(refusal(url, { KAFKA_CLIENT_ID: 'a b' })).toContain('KAFKA_CLIENT_ID')
  })

  test('TLS', () => {
    const [ca, cert, key] = [file('ca.pem', certificate), file('cert.pem', certificate), file('key.pem', privateKey)]
    expect(settings({ KAFKA_SSL: 'true' }).tls).toEqual({})
    expect(
      settings({ KAFKA_SSL: 'true', KAFKA_SSL_CA: ca, KAFKA_SSL_CERT: cert, KAFKA_SSL_KEY: key, KAFKA_SSL_SERVERNAME: 'kafka' }).tls,
    ).toEqual({ ca: certificate, cert: certificate, key: privateKey, servername: 'kafka' })
    expect(settings({ KAFKA_SSL: 'false' }).tls).toBeUndefined()
    expect(refusal(url, { KAFKA_SSL: 'yes' })).toContain("'true' or 'false'")
    expect(refusal(url, { KAFKA_SSL_CA: ca })).toBe("KAFKA_SSL_CA is set, but KAFKA_SSL is not 'true'")
    expect(refusal(url, { KAFKA_SSL: 'true', KAFKA_SSL_CERT: cert })).toContain('belong together')
    expect(refusal(url, { KAFKA_SSL: 'true', KAFKA_SSL_KEY: key })).toContain('belong together')
    expect(refusal(url, { KAFKA_SSL: 'true', KAFKA_SSL_CA: join(folder, 'none.pem') })).toMatch(
      /KAFKA_SSL_CA names a file.*none\.pem \(ENOENT\)/,
    )
    const rubbish = file('rubbish.pem', 's3cret')
    const none = [
      refusal(url, { KAFKA_SSL: 'true', KAFKA_SSL_CA: rubbish }),
      refusal(url, { KAFKA_SSL: 'true', KAFKA_SSL_CERT: cert, KAFKA_SSL_KEY: rubbish }),
      refusal(url, { KAFKA_SSL: 'true', KAFKA_SSL_CERT: rubbish, KAFKA_SSL_KEY: key }),
    ]
    expect(none).toEqual([
      expect.stringMatching(/^KAFKA_SSL_CA names a file that holds no certificate in PEM: .*rubbish\.pem/),
      expect.stringMatching(/^KAFKA_SSL_CERT and KAFKA_SSL_KEY are no certificate in PEM and its key/),
      expect.stringMatching(/^KAFKA_SSL_CERT and KAFKA_SSL_KEY are no certificate in PEM and its key/),
    ])
    expect(none.join()).not.toContain('s3cret')
  })

  test('a user and a password', () => {
    const { sasl } = settings({ KAFKA_SASL_MECHANISM: 'scram-sha-512', KAFKA_SASL_USERNAME: 'me', KAFKA_SASL_PASSWORD: 's3cret' })
    expect(sasl).toMatchObject({ mechanism: 'SCRAM-SHA-512', username: 'me' })
    expect(sasl?.password?.()).toBe('s3cret')
  })

  test('a token, read anew each time', () => {
    const path = file('token', 'one\n')
    const { sasl } = settings({ KAFKA_SASL_MECHANISM: 'OAUTHBEARER', KAFKA_SASL_TOKEN_FILE: path })
    expect(sasl?.token?.()).toBe('one')
    file('token', 'two\r\n')
    expect(sasl?.token?.()).toBe('two')
    file('token', '')
    expect(() => sasl?.token?.()).toThrow('empty file')
  })

  const secret = { KAFKA_SASL_PASSWORD: 's3cret' }
  test.each<[Record<string, string>, string]>([
    [{ KAFKA_SASL_MECHANISM: 'GSSAPI' }, "KAFKA_SASL_MECHANISM is 'GSSAPI'"],
    [{ KAFKA_SASL_USERNAME: 'me' }, 'KAFKA_SASL_MECHANISM is missing'],
    [secret, 'KAFKA_SASL_MECHANISM is missing'],
    [{ ...secret, KAFKA_SASL_MECHANISM: 'PLAIN' }, 'PLAIN needs KAFKA_SASL_USERNAME'],
    [{ KAFKA_SASL_MECHANISM: 'PLAIN', KAFKA_SASL_USERNAME: 'me' }, 'PLAIN needs KAFKA_SASL_PASSWORD'],
    [{ ...secret, KAFKA_SASL_MECHANISM: 'PLAIN', KAFKA_SASL_USERNAME: 'me', KAFKA_SASL_TOKEN: 's3cret' }, 'no token'],
    [{ ...secret, KAFKA_SASL_MECHANISM: 'PLAIN', KAFKA_SASL_USERNAME: 'me', KAFKA_SASL_PASSWORD_FILE: 'f' }, 'are both set'],
    [
      { KAFKA_SASL_MECHANISM: 'PLAIN', KAFKA_SASL_USERNAME: 'me', KAFKA_SASL_PASSWORD_FILE: '/none/x' },
      'KAFKA_SASL_PASSWORD_FILE names a file',
    ],
    [{ KAFKA_SASL_MECHANISM: 'OAUTHBEARER' }, 'needs KAFKA_SASL_TOKEN'],
    [{ ...secret, KAFKA_SASL_MECHANISM: 'OAUTHBEARER', KAFKA_SASL_TOKEN: 's3cret' }, 'no user name'],
  ])('%j is refused', (env, why) => {
    const message = refusal(url, env)
    expect(message).toContain(why)
    expect(message).not.toContain('s3cret')
  })
})
