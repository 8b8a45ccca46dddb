/** Breakages of the fold and of what a tenant's database keeps of it. */
import type { Mutation } from './mutation.ts'
import { both, rivals, some, where } from './only.ts'

const accept = 'src/accept.ts'
const window = 'src/window.ts'
const projection = 'src/projection.ts'
const database = 'src/database/sqlite.ts'

export const fold: readonly Mutation[] = [
  {
    name: 'dedupe off',
    breaks: 'an id that was accepted before is accepted again',
    edits: [
      { file: accept, find: '&& !expired(id) && !known(id))', replace: '&& !expired(id))' },
      { file: accept, find: 'accepted.has(id) || known(id)', replace: 'accepted.has(id)' },
    ],
  },
  {
    name: 'an id twice in one record',
    breaks: 'a record holds the same id twice, and both are accepted',
    edits: [
      { file: 'src/shard/batch.ts', find: 'if (ids.has(request.id)) {', replace: 'if (false) {' },
      { file: accept, find: 'accepted.has(id) || known(id)', replace: 'known(id)' },
    ],
  },
  {
    name: 'term check off',
    breaks: 'records of a reign that has ended are judged like any other',
    scene: 'sleepers',
    edits: [
      {
        file: accept,
        find: "if (term.number !== shard.term.number || term.owner !== shard.term.owner) return 'deposed'",
        replace: '',
      },
    ],
  },
  {
    name: 'term owner not compared',
    breaks: 'a record of another owner counts if its term has the same number',
    scene: 'another owner',
    edits: [{ file: accept, find: ' || term.owner !== shard.term.owner', replace: '' }],
  },
  {
    name: 'used term number',
    breaks: 'of two claims with the same number the later one counts, too',
    only: rivals,
    edits: [
      { file: accept, find: 'if (number !== shard.term.number + 1) return `term', replace: 'if (number < shard.term.number) return `term' },
    ],
  },
  {
    name: 'rules number not compared',
    breaks: 'records made under other rules are judged by those of today',
    only: where('rules'),
    edits: [{ file: accept, find: "if (rules !== shard.rules.number) return 'deposed'", replace: '' }],
  },
  {
    name: 'release ignored',
    breaks: 'records of a release that is not the active one count',
    scene: 'another release',
    edits: [{ file: accept, find: "if (shard.release !== null && release !== shard.release) return 'deposed'", replace: '' }],
  },
  {
    name: 'reign outlives a release',
    breaks: 'a release leaves the term as it was',
    only: where('release'),
    edits: [
      {
        file: accept,
        find: 'return { ...shard, release, retired, term: { number: shard.term.number + 1, owner: null, address: null } }',
        replace: 'return { ...shard, release, retired }',
      },
    ],
  },
  {
    name: 'seal ignored',
    breaks: 'what stands behind the seal counts',
    only: where('seal'),
    edits: [{ file: accept, find: 'return { ...shard, sealed: true }', replace: 'return shard' }],
  },
  {
    name: 'window off by one',
    breaks: 'the floor lies one version too high',
    only: both(rivals, some('first-wins')),
    edits: [{ file: accept, find: 'end - shard.rules.window)', replace: 'end - shard.rules.window + 1)' }],
  },
  {
    name: 'window evicts the floor',
    breaks: 'the record that ends at the floor is forgotten while it may still be a base',
    only: both(rivals, some('first-wins')),
    edits: [{ file: window, find: 'entry && entry.end < floor;', replace: 'entry && entry.end <= floor;' }],
  },
  {
    name: 'first write behind the base not seen',
    breaks: 'a tag written in the very next version does not conflict',
    only: both(rivals, some('first-wins')),
    edits: [
      {
        file: window,
        find: 'return this.#lastWriteToAll > version || tags.some(tag => (this.#lastWrite.get(tag) ?? 0) > version)',
        replace: 'return this.#lastWriteToAll > version + 1 || tags.some(tag => (this.#lastWrite.get(tag) ?? 0) > version + 1)',
      },
    ],
  },
  {
    name: 'floor moving back',
    breaks: 'a wider window lets bases count again that were too old already',
    only: where('rules'),
    edits: [
      {
        file: accept,
        find: 'tenant.floor = Math.max(tenant.floor, end - shard.rules.window)',
        replace: 'tenant.floor = Math.max(0, end - shard.rules.window)',
      },
    ],
  },
  {
    name: 'speculation that did not come true accepted',
    breaks: 'a decision that saw one before it in its record is accepted though that one was not',
    only: rivals,
    edits: [{ file: accept, find: 'return !cameTrue && earlier.overlap(reads)', replace: 'return false' }],
  },
  {
    name: 'speculative rows kept',
    breaks: 'the rows of a speculation are kept if any of its decisions was accepted',
    only: rivals,
    edits: [
      {
        file: projection,
        find: "const confirmed = this.#transaction === 'speculating' && verdicts.every(",
        replace: "const confirmed = this.#transaction === 'speculating' && verdicts.some(",
      },
    ],
  },
  {
    name: 'digest moving without an event',
    breaks: 'a record of rejections moves the digest, and not the version',
    edits: [
      {
        file: accept,
        find: 'if (end === tenant.version) return { versions, history: null }',
        replace: `if (end === tenant.version) {
    tenant.digest = sha256(\`\${tenant.digest}\\n\`)
    return { versions, history: null }
  }`,
      },
    ],
  },
  {
    name: 'base digest not compared',
    breaks: 'a record counts whatever digest it was made at, if its base ends a record',
    only: where('digest', 'base'),
    edits: [
      {
        file: accept,
        find: "return digest === record.digest ? undefined : 'diverged'",
        replace: "return digest === undefined ? 'diverged' : undefined",
      },
    ],
  },
  {
    name: 'whole-database reads not judged',
    breaks: 'what reads everything never conflicts with what was written behind its base',
    only: both(rivals, some('first-wins')),
    edits: [{ file: accept, find: "(reads === '*' || tenant.window", replace: "(reads !== '*' && tenant.window" }],
  },
  {
    name: 'writes to everything forgotten',
    breaks: 'the window does not remember who wrote everything',
    only: both(rivals, some('first-wins')),
    edits: [{ file: window, find: "if (writes === '*') this.#lastWriteToAll = end", replace: "if (writes === '*') continue" }],
  },
  {
    name: 'tags of events ignored',
    breaks: 'a decision writes what its scope says, and not what its events are tagged with',
    only: both(rivals, some('first-wins')),
    edits: [{ file: accept, find: 'for (const { tags } of events) if (tags) for (const tag of tags) this.#tags.add(tag)', replace: '' }],
  },
  {
    name: 'rejections not remembered',
    breaks: 'the id of an accepted rejection is not kept',
    edits: [
      {
        file: projection,
        find: "if (verdicts[i] === 'accepted') ids.push(",
        replace: "if (verdicts[i] === 'accepted' && record.decisions[i]!.events.length > 0) ids.push(",
      },
    ],
  },
  {
    name: 'ids forgotten by the local clock',
    breaks: 'ids a second old are forgotten, whatever the log says',
    edits: [
      {
        file: 'src/shard.ts',
        find: 'tenant?.tidy(this.#state)',
        replace: 'tenant?.tidy({ ...this.#state, forgetBefore: this.#time - 1_000 })',
      },
    ],
  },
  {
    name: 'ids looked up inside the speculative transaction',
    breaks: 'a verdict finds the ids of its own speculation, for they are entered before it',
    edits: [
      {
        file: 'src/shard/batch.ts',
        find: 'for (const event of decided.events) tenant.project(event, ++version, now)',
        replace: `for (const event of decided.events) tenant.project(event, ++version, now)
      store.enterIds([id], { position: 0, version })`,
      },
    ],
  },
  {
    name: 'newest id not looked up',
    breaks: 'the greatest UUIDv7 that was accepted counts as new',
    edits: [{ file: database, find: 'if (id > this.#newest && rises(id)) return', replace: 'if (id >= this.#newest && rises(id)) return' }],
  },
  {
    name: 'database commit before log',
    breaks: 'the rows of a speculation are committed before its record is in the log',
    edits: [
      {
        file: 'src/shard.ts',
        find: `home.attempt = attempt
      this.#flying.add(home)`,
        replace: `home.attempt = attempt
      if (value !== undefined) {
        tenant.store.commit(tenant.store.standing)
        tenant.store.begin()
      }
      this.#flying.add(home)`,
      },
    ],
  },
  {
    name: 'position outside the transaction',
    breaks: 'a database stores how far it has come in the transaction behind the rows',
    edits: [
      {
        file: database,
        find: 'WHERE one = 1 AND version = ? AND position = ?`',
        replace: 'WHERE one = 1 AND version <= ? AND position <= ?`',
      },
      {
        file: database,
        find: `next.position,
        next.version,
        next.floor,
        next.digest,
        next.time,
        next.recordHash,
        next.place,
        next.generation,`,
        replace: ['position', 'version', 'floor', 'digest', 'time', 'recordHash', 'place', 'generation']
          .map(name => `this.standing.${name},`)
          .join(`
`),
      },
    ],
  },
  {
    name: 'history without its writes',
    breaks: 'a database that is opened again does not know what was written in its window',
    scene: 'doubles',
    edits: [{ file: database, find: 'writes && JSON.stringify(writes))', replace: 'null)' }],
  },
  {
    name: 'window thinned too far',
    breaks: 'writes above the floor are dropped from the history',
    scene: 'doubles',
    edits: [
      { file: database, find: 'this.#alone(sql.thin, this.standing.floor)', replace: 'this.#alone(sql.thin, this.standing.version)' },
    ],
  },
]
