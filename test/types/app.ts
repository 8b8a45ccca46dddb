/** The types of a definition: what must compile, and what must not. Checked by tsc alone, never run. */
import { type } from 'arktype'
import { type App, app, type EventsOf, event, model, openReplica, sqlite } from 'mainstem'
import * as v from 'valibot'
import { z } from 'zod'
import bank from '../../examples/bank/app.ts'
import seats from '../../examples/seats.ts'

type Equal<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false
const same = <A, B>(equal: Equal<A, B>) => void equal

const open = <EI, EO, CI, CR, QI, QR>(app: App<string, EI, EO, CI, CR, QI, QR>) => openReplica(app, { log: 'memory:' })

// --- Outcomes narrow ---
{
  const replica = await open(seats)
  const moved = await replica.execute('move', { from: 'A1', to: 'A2' }, { id: 'x' })
  if (moved.status === 'accepted') {
    same<typeof moved.result, { guest: string }>(true)
    same<(typeof moved.events)[number]['type'], 'SeatReleased' | 'SeatReserved'>(true)
    for (const event of moved.events) if (event.type === 'SeatReserved') same<typeof event.data, { seat: string; guest: string }>(true)
    // @ts-expect-error accepted has no code
    void moved.code
  } else {
    same<typeof moved.code, 'seat-free' | 'seat-taken'>(true)
    if (moved.code === 'seat-taken') same<typeof moved.details, { seat: string }>(true)
  }
  const released = await replica.execute('release', { seat: 'A1', guest: 'Ann' })
  if (released.status === 'accepted') same<typeof released.result, undefined>(true)
  same<Awaited<ReturnType<typeof replica.query<'taken'>>>, { seat: string; guest: string }[]>(true)
  await replica.query('taken')
  await replica.query('taken', undefined, { tenant: 't', read: 'linearizable' })
  await replica.query('seat', { seat: 'A1' })
  // @ts-expect-error the input is missing
  await replica.query('seat')
  // @ts-expect-error this query takes no input
  await replica.query('taken', { seat: 'A1' })
  // @ts-expect-error wrong input
  await replica.execute('move', { from: 'A1', to: 2 })
  // @ts-expect-error missing input
  await replica.execute('move')
  // @ts-expect-error unknown command
  await replica.execute('mvoe', { from: 'A1', to: 'A2' })
  // @ts-expect-error unknown query
  await replica.query('token')
}

// --- An app in several files ---
{
  const replica = await open(bank)
  const out = await replica.execute('withdraw', { person: 'p', account: 'a', cents: 1 })
  if (out.status === 'accepted') {
    same<typeof out.result, { leftToday: number }>(true)
    same<(typeof out.events)[number]['data']['day'], string>(true)
  } else if (out.code === 'daily-limit') same<typeof out.details, { day: string; left: number }>(true)
  else if (out.code === 'too-little') same<typeof out.details, { missing: number }>(true)
  const transferred = await replica.execute('transfer', { person: 'p', from: 'a', to: 'b', cents: 1 })
  if (transferred.status === 'rejected' && transferred.code === 'same-account') same<typeof transferred.details, undefined>(true)
  // The input has a default, the reference may be left out.
  await replica.execute('deposit', { account: 'a', cents: 1 })
  same<Awaited<ReturnType<typeof replica.query<'total'>>>, number>(true)
}

// --- Validators mixed, inputs left out, versions, tags ---
const mixed = app('mixed', {
  events: {
    A: z.object({ a: z.string(), n: z.number().default(1) }),
    B: v.object({ b: v.number(), o: v.optional(v.string()) }),
    C: type({ c: 'string', 'd?': 'number[]' }),
    D: event(z.object({ d: z.string() }))
      .next(v.object({ d: v.string(), e: v.boolean() }), old => ({ ...old, e: false }))
      .tags(({ d, e }) => [d, `${e}`]),
    // Their output is not known to the compiler; the run time looks.
    E: z.object({ any: z.any(), unknown: z.unknown(), json: z.json(), record: z.record(z.string(), z.number().nullable()) }),
    F: z.discriminatedUnion('kind', [
      z.object({ kind: z.literal('x') }),
      z.object({ kind: z.literal('y'), y: z.tuple([z.string(), z.number()]) }),
    ]),
    G: z.object({}),
    H: z.object({ id: z.string().brand('Id'), at: z.date().transform(at => at.getTime()) }),
  },
  database: sqlite(''),
  project: {
    A: (db, { a, n }, { version, at }) => {
      same<typeof n, number>(true)
      same<typeof at, Date>(true)
      db.run(a, n, version)
    },
    B: (_, data) => same<typeof data, { b: number; o?: string | undefined }>(true),
    C: (_, data) => same<typeof data, { c: string; d?: number[] }>(true),
    D: (_, data) => same<typeof data, { d: string; e: boolean }>(true),
    E: () => {},
    F: (_, data) => {
      if (data.kind === 'y') same<typeof data.y, [string, number]>(true)
    },
    G: () => {},
    H: (_, data) => same<typeof data.at, number>(true),
  },
  commands: {
    zod: { input: z.object({ a: z.coerce.number<string>() }), decide: ({ a }, { emit }) => emit('B', { b: a }) },
    valibot: { input: v.object({ c: v.string() }), scope: ({ c }) => [c], decide: ({ c }, { emit }) => emit('C', { c }) },
    arktype: {
      input: type({ a: 'string' }),
      scope: ({ a }) => ({ reads: '*', writes: [a] }),
      decide: ({ a }, { emit }) => emit('A', { a }),
    },
    bare: { decide: (_, { emit }) => emit('D', { d: '', e: true }) },
    perhaps: { input: z.object({ a: z.string() }).optional(), decide: () => [] },
    several: {
      decide: (_, { emit, reject, now }) =>
        now.getTime() > 0
          ? { events: [emit('A', { a: '' }), emit('G', {})], result: 1 }
          : now.getTime() < 0
            ? reject('no')
            : reject('never', { a: 1 }),
    },
    none: { decide: () => ({ events: [], result: 'nothing to do' }) },
    no: { decide: (_, { reject }) => reject('no') },
    date: { decide: (_, { emit, now }) => emit('H', { id: '1', at: now }) },
  },
})
{
  const replica = await open(mixed)
  await replica.execute('zod', { a: '1' })
  await replica.execute('bare')
  await replica.execute('bare', undefined, { id: 'x' })
  await replica.execute('perhaps')
  await replica.execute('perhaps', { a: '' })
  // @ts-expect-error takes no input
  await replica.execute('bare', {})
  // @ts-expect-error the input of the schema is a string
  await replica.execute('zod', { a: 1 })
  // @ts-expect-error no queries
  await replica.query('none')
  const several = await replica.execute('several')
  if (several.status === 'accepted') {
    same<typeof several.result, number>(true)
    same<(typeof several.events)[number]['type'], 'A' | 'G'>(true)
  } else if (several.code === 'never') same<typeof several.details, { a: number }>(true)
  const no = await replica.execute('no')
  if (no.status === 'accepted') same<(typeof no.events)[number], never>(true)
  same<EventsOf<never[]>, never>(true)
}

// --- What must not compile in a definition ---
const events = { A: z.object({ a: z.string() }), B: z.object({ b: z.number() }) }
const database = sqlite('CREATE TABLE a (a TEXT) STRICT')
const project = { A: () => {}, B: () => {} }

// @ts-expect-error no projection for B
app('x', { events, database, project: { A: () => {} }, commands: {} })
// @ts-expect-error a projection for an event that does not exist
app('x', { events, database, project: { A: () => {}, B: () => {}, C: () => {} }, commands: {} })
// @ts-expect-error the events are not plain JSON
app('x', { events: { A: z.object({ at: z.date() }) }, database, project: { A: () => {} }, commands: {} })
const deep = z.object({ list: z.array(z.object({ m: z.map(z.string(), z.string()) })) })
// @ts-expect-error nor deep inside
app('x', { events: { A: deep }, database, project: { A: () => {} }, commands: {} })
// @ts-expect-error bigint neither
app('x', { events: { A: z.object({ n: z.bigint() }) }, database, project: { A: () => {} }, commands: {} })
// @ts-expect-error not a schema
app('x', { events: { A: { a: 'string' } }, database, project: { A: () => {} }, commands: {} })

app('x', {
  events,
  database,
  project: {
    // @ts-expect-error the data has no b
    A: (db, { b }) => db.run('', b),
    // @ts-expect-error no parameter of a statement
    B: (db, { b }) => db.run('', { b }),
  },
  commands: {
    // @ts-expect-error unknown event
    unknown: { decide: (_, { emit }) => emit('Zzz', {}) },
    // @ts-expect-error wrong payload
    payload: { decide: (_, { emit }) => emit('A', { a: 1 }) },
    // @ts-expect-error the input has no b
    input: { input: z.object({ a: z.string() }), decide: ({ b }, { emit }) => emit('A', { a: b }) },
    // @ts-expect-error nor in the scope
    scope: { input: z.object({ a: z.string() }), scope: ({ b }) => [b], decide: ({ a }, { emit }) => emit('A', { a }) },
    // @ts-expect-error a tag is a string
    tag: { input: z.object({ n: z.number() }), scope: ({ n }) => [n], decide: (_, { emit }) => emit('A', { a: '' }) },
    // @ts-expect-error async
    async: { decide: async (_, { emit }) => emit('A', { a: '' }) },
    // @ts-expect-error async now and then
    sometimes: { decide: (_, { emit, now }) => (now ? emit('A', { a: '' }) : Promise.resolve(emit('A', { a: '' }))) },
    // @ts-expect-error nothing returned
    nothing: { decide: (_, { emit }) => void emit('A', { a: '' }) },
    // @ts-expect-error no decision
    plain: { decide: () => ({ type: 'A', data: { a: '' } }) },
    // @ts-expect-error decide cannot write
    write: { decide: (_, { db, emit }) => (db.run('DELETE FROM a'), emit('A', { a: '' })) },
  },
})

const later = (): Promise<void> => Promise.resolve()
app('x', {
  events,
  database,
  project: {
    // @ts-expect-error async
    A: async (db, { a }) => db.run('', a),
    // @ts-expect-error async now and then
    B: (db, { b }) => (b ? db.run('', b) : later()),
  },
  commands: {},
})
// @ts-expect-error a promise without a word of it
app('x', { events, database, project: { ...project, A: later }, commands: {} })
// What comes out of an expression is dropped.
app('x', { events, database, project: { A: (db, { a }) => a && db.run('', a), B: db => [db.run(''), db.get('')] }, commands: {} })

// @ts-expect-error async
app('x', { events, database, project, commands: {}, queries: { async: { run: async (_, { db }) => db.all('') } } })
// @ts-expect-error a query cannot write
app('x', { events, database, project, commands: {}, queries: { write: { run: (_, { db }) => db.run('') } } })
const input = z.object({ a: z.string() })
// @ts-expect-error the input has no b
app('x', { events, database, project, commands: {}, queries: { q: { input, run: ({ b }, { db }) => db.all(b) } } })

// --- The same through a model ---
const m = model({ events, database })
const fine = m.command({
  input: z.object({ a: z.string() }),
  decide: ({ a }, { emit, reject }) => (a ? emit('A', { a }) : reject('empty')),
})
const bare = m.command({ decide: (_, { emit }) => emit('B', { b: 1 }) })
// @ts-expect-error unknown event
m.command({ decide: (_, { emit }) => emit('Zzz', {}) })
// @ts-expect-error async
m.command({ decide: async (_, { emit }) => emit('A', { a: '' }) })
// @ts-expect-error decide cannot write
m.command({ decide: (_, { db, emit }) => (db.run(''), emit('A', { a: '' })) })
// @ts-expect-error async
m.query({ run: async () => 1 })
// @ts-expect-error unknown event
m.projection({ Zzz: () => {} })
// @ts-expect-error async
m.projection({ A: async (db, { a }) => db.run('', a) })
// @ts-expect-error no projection for B
m.app('x', { project: m.projection({ A: () => {} }), commands: {} })
const parted = m.app('x', { project: { ...m.projection({ A: (db, { a }) => db.run('', a) }), B: () => {} }, commands: { fine, bare } })
{
  const replica = await open(parted)
  const out = await replica.execute('fine', { a: '' })
  if (out.status === 'rejected') same<typeof out.code, 'empty'>(true)
  else same<(typeof out.events)[number]['data'], { a: string }>(true)
  await replica.execute('bare')
}

// --- Versions of an event ---
// @ts-expect-error the upcast does not give what the new schema gives
event(z.object({ a: z.string() })).next(z.object({ a: z.string(), b: z.number() }), old => ({ ...old }))
const tagged = event(z.object({ a: z.string() })).tags(({ a }) => [a])
// @ts-expect-error tags come last
void tagged.next
