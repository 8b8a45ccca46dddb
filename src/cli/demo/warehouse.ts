/** A warehouse: an order takes all of its goods or none, and the stock of nothing falls below zero. */
import { app, sqlite } from '../../index.ts'
import { type Demo, numbered, pick } from './demo.ts'
import { fields } from './schema.ts'

const warehouse = app('warehouse', {
  events: {
    GoodsReceived: fields({ item: 'text', quantity: 'whole' }),
    OrderPlaced: fields({ customer: 'text', first: 'text', second: 'text', quantity: 'whole' }),
  },
  database: sqlite(`
    CREATE TABLE stock (item TEXT PRIMARY KEY, quantity INTEGER NOT NULL) STRICT;
    CREATE TABLE movement (version INTEGER, item TEXT, quantity INTEGER NOT NULL, customer TEXT, PRIMARY KEY (version, item)) STRICT;
  `),
  project: {
    GoodsReceived(db, { item, quantity }, { version }) {
      db.run('INSERT INTO stock VALUES (?, ?) ON CONFLICT DO UPDATE SET quantity = quantity + excluded.quantity', item, quantity)
      db.run('INSERT INTO movement VALUES (?, ?, ?, NULL)', version, item, quantity)
    },
    OrderPlaced(db, { customer, first, second, quantity }, { version }) {
      for (const item of [first, second]) {
        db.run('UPDATE stock SET quantity = quantity - ? WHERE item = ?', quantity, item)
        db.run('INSERT INTO movement VALUES (?, ?, ?, ?)', version, item, -quantity, customer)
      }
    },
  },
  commands: {
    receive: {
      input: fields({ item: 'text', quantity: 'whole' }),
      scope: ({ item }) => ({ reads: [], writes: [`item:${item}`] }),
      decide: (input, { emit }) => emit('GoodsReceived', input),
    },
    order: {
      input: fields({ customer: 'text', first: 'text', second: 'text', quantity: 'whole' }),
      scope: ({ first, second }) => [`item:${first}`, `item:${second}`],
      decide(input, { db, emit, reject }) {
        const { first, second, quantity } = input
        if (first === second) return reject('same-item')
        const missing = [first, second].filter(
          item => (db.get<{ quantity: number }>('SELECT quantity FROM stock WHERE item = ?', item)?.quantity ?? 0) < quantity,
        )
        return missing.length > 0 ? reject('out-of-stock', { missing }) : emit('OrderPlaced', input)
      },
    },
  },
})

const items = numbered('item-', 100)
const customers = numbered('customer-', 50)

export const warehouseDemo: Demo = {
  app: warehouse,
  story: '50 customers order the same 100 goods, two kinds at a time, while new goods come in.',
  invariant: {
    name: 'the stock of nothing ever falls below zero',
    sql: `
      SELECT item, version, quantity
      FROM (SELECT item, version, sum(quantity) OVER (PARTITION BY item ORDER BY version) AS quantity FROM movement)
      WHERE quantity < 0`,
  },
  setUp: items.map(item => ({ command: 'receive', input: { item, quantity: 10 } })),
  call(random) {
    const quantity = 1 + Math.floor(random() * 5)
    if (random() < 0.2) return { command: 'receive', input: { item: pick(random, items), quantity } }
    return {
      command: 'order',
      input: { customer: pick(random, customers), first: pick(random, items), second: pick(random, items), quantity },
    }
  },
}
