/**
 * Lets the machines of production be looked into and copied: to each class whose state is private two static functions are added as its file is
 * loaded, which give an instance's fields away, and set them. Nothing else of them is touched. To be imported before they are.
 */
import { registerHooks } from 'node:module'

/** A class's function that gives the private fields of an instance away. */
export const fieldsOf = Symbol.for('fields of an instance')
export const setFields = Symbol.for('set fields of an instance')

const machines = /\/src\/(shard|projection|window|consistency|log\/kafka\/(producer|batches|transactions|queue|initiation))\.ts$/

registerHooks({
  load(url, context, nextLoad) {
    const loaded = nextLoad(url, context)
    if (!machines.test(url)) return loaded
    return { ...loaded, source: revealed(Buffer.from(loaded.source as Uint8Array).toString()) }
  },
})

function revealed(source: string): string {
  return source.replace(/^(?:export )?class (\w+)[^\n]*\{\n([^]*?)^\}/gm, (whole, name: string, body: string) => {
    const fields = [...body.matchAll(/^ {2}(?:readonly\s+)?#(\w+)\s*[:=;!?\n]/gm)].map(([, field]) => field!)
    // One that is missed would be a difference that nobody sees.
    for (const [, field] of body.matchAll(/this\.#(\w+)\b(?!\()/g))
      if (!fields.includes(field!)) throw new Error(`the field #${field} of ${name} is not found where it is declared`)
    if (fields.length === 0) return whole
    const given = fields.map(field => `${field}: it.#${field}`).join(', ')
    const set = fields.map(field => `it.#${field} = fields.${field}`).join('; ')
    const read = `static [Symbol.for('fields of an instance')](it) { return { ${given} } }`
    const write = `static [Symbol.for('set fields of an instance')](it, fields) { ${set} }`
    return whole.replace('{\n', `{ ${read}\n${write}\n`)
  })
}
