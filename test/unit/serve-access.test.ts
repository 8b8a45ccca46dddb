/** Who may come in, as options, environment and configuration say it together. */
import { describe, expect, test } from 'vitest'
import { accessIn } from '../../src/cli/serve-access.ts'

const both = { issuer: 'https://id.example.org', audience: 'seats' }

describe('access is', () => {
  test.each<[string, Parameters<typeof accessIn>, ReturnType<typeof accessIn>]>([
    ['none', [{}, {}, {}], {}],
    ['by option', [{ tokens: 'a' }, { MAINSTEM_TOKENS: 'b' }, { access: { tokens: 'c' } }], { access: { tokens: 'a' } }],
    ['by the environment', [{}, { MAINSTEM_TOKENS: 'b' }, { access: { tokens: 'c' } }], { access: { tokens: 'b' } }],
    ['not by what is empty there', [{}, { MAINSTEM_TOKENS: '' }, { access: { tokens: 'c' } }], { access: { tokens: 'c' } }],
    ['by JWTs of an option', [{ jwks: 'https://id/jwks', ...both }, {}, {}], { access: { jwt: { jwks: 'https://id/jwks', ...both } } }],
    [
      'by JWTs of the environment',
      [{}, { MAINSTEM_JWT_SECRET_FILE: 's', MAINSTEM_ISSUER: 'i', MAINSTEM_AUDIENCE: 'a' }, {}],
      { access: { jwt: { secretFile: 's', issuer: 'i', audience: 'a' } } },
    ],
    [
      'by keys of an option with the checks of the configuration',
      [{ jwks: 'new' }, {}, { access: { jwt: { secretFile: 'old', ...both, clockTolerance: 1 } } }],
      { access: { jwt: { jwks: 'new', ...both, clockTolerance: 1 } } },
    ],
    [
      'by the configuration with another audience',
      [{ audience: 'other' }, {}, { access: { jwt: { jwks: 'k', ...both } } }],
      { access: { jwt: { jwks: 'k', ...both, audience: 'other' } } },
    ],
    [
      'over TLS',
      [{ tlsCert: 'c' }, { MAINSTEM_TLS_KEY: 'k', MAINSTEM_TLS_CERT: 'other' }, { tls: { cert: 'x', key: 'y' } }],
      { tls: { cert: 'c', key: 'k' } },
    ],
  ])('%s', (_, given, wanted) => {
    expect(accessIn(...given)).toEqual(wanted)
  })

  test('with the policy of the configuration, whatever else is said', () => {
    const policy = () => true
    expect(accessIn({ tokens: 'a' }, {}, { access: { tokens: 'c', policy } })).toEqual({ access: { tokens: 'a', policy } })
    // It is told to be no access when it is used.
    expect(accessIn({}, {}, { access: { policy } })).toEqual({ access: { policy } })
  })

  test.each([
    [{ issuer: 'i' }, /--issuer and --audience are for JWTs/],
    [{ tokens: 'a', audience: 'x' }, /--issuer and --audience are for JWTs/],
    [{ tlsCert: 'c' }, /belong together: give --tls-cert and --tls-key/],
    [{ tlsKey: 'k' }, /belong together/],
  ])('not what %j says a half of', (flags, message) => {
    expect(() => accessIn(flags, {}, {})).toThrow(message)
  })
})
