/** The smallest Standard Schema, for the demo's inputs and events: objects of texts and whole numbers. Apps bring a validator of their own. */
import type { Schema } from '../../app.ts'

type Kind = 'text' | 'whole'
type Of<S> = { -readonly [K in keyof S]: S[K] extends 'text' ? string : number }

export function fields<const S extends Readonly<Record<string, Kind>>>(shape: S): Schema<Of<S>, Of<S>> {
  const fits = (kind: Kind, value: unknown) => (kind === 'text' ? typeof value === 'string' && value !== '' : Number.isSafeInteger(value))
  return {
    '~standard': {
      version: 1,
      vendor: 'mainstem',
      validate(value) {
        if (typeof value !== 'object' || value === null) return { issues: [{ message: 'it must be an object' }] }
        const given = value as Record<string, unknown>
        const wrong = Object.keys(shape).filter(name => !fits(shape[name]!, given[name]))
        if (wrong.length > 0)
          return {
            issues: wrong.map(name => ({
              message: `${name} must be ${shape[name] === 'text' ? 'a text' : 'a whole number'}`,
              path: [name],
            })),
          }
        return { value: Object.fromEntries(Object.keys(shape).map(name => [name, given[name]])) as Of<S> }
      },
    },
  }
}
