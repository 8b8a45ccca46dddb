/**
 * A warehouse: goods come in, orders take several items at once or none, and the stock of nothing ever falls below zero.
 *
 * `movement` keeps every change of a stock, so that `invariant` can look at each moment of the past; `stock` is the sum, for quick
 * decisions. No table forbids a negative number: that is the work of `decide` alone.
 */
import { app, sqlite } from 'mainstem'
import { z } from 'zod'

const item = z.string().min(1).max(60)
const quantity = z.int().positive().max(1_000_000)
const line = z.object({ item, quantity })

export default app('warehouse', {
  events: {
    GoodsReceived: line,
    OrderPlaced: z.object({ order: z.string(), customer: z.string(), lines: z.array(line) }),
  },

  database: sqlite(`
    CREATE TABLE stock (item TEXT PRIMARY KEY, quantity INTEGER NOT NULL) STRICT;
    CREATE TABLE placed (id TEXT PRIMARY KEY, customer TEXT NOT NULL, at TEXT NOT NULL) STRICT;
    CREATE TABLE movement (version INTEGER, item TEXT, quantity INTEGER NOT NULL, placed TEXT, PRIMARY KEY (version, item)) STRICT;
    CREATE INDEX movement_placed ON movement (placed);
  `),

  project: {
    GoodsReceived(db, { item, quantity }, { version }) {
      db.run('INSERT INTO stock VALUES (?, ?) ON CONFLICT DO UPDATE SET quantity = quantity + excluded.quantity', item, quantity)
      db.run('INSERT INTO movement VALUES (?, ?, ?, NULL)', version, item, quantity)
    },
    OrderPlaced(db, { order, customer, lines }, { version, at }) {
      db.run('INSERT INTO placed VALUES (?, ?, ?)', order, customer, at.toISOString())
      for (const { item, quantity } of lines) {
        db.run('UPDATE stock SET quantity = quantity - ? WHERE item = ?', quantity, item)
        db.run('INSERT INTO movement VALUES (?, ?, ?, ?)', version, item, -quantity, order)
      }
    },
  },

  commands: {
    receive: {
      input: line,
      // Goods may always come in, whatever else happens: nothing is read, but orders must notice.
      scope: ({ item }) => ({ reads: [], writes: [`item:${item}`] }),
      decide: (input, { emit }) => emit('GoodsReceived', input),
    },

    order: {
      input: z.object({ order: z.string().min(1).max(60), customer: z.string().min(1).max(100), lines: z.array(line).min(1).max(50) }),
      scope: ({ order, lines }) => [`order:${order}`, ...new Set(lines.map(({ item }) => `item:${item}`))],
      decide({ order, customer, lines }, { db, emit, reject }) {
        if (db.get('SELECT 1 FROM placed WHERE id = ?', order)) return reject('order-exists', { order })
        // An item may stand on several lines.
        const wanted = new Map<string, number>()
        for (const { item, quantity } of lines) wanted.set(item, (wanted.get(item) ?? 0) + quantity)
        const missing: { item: string; quantity: number }[] = []
        for (const [item, quantity] of wanted) {
          const stock = db.get<{ quantity: number }>('SELECT quantity FROM stock WHERE item = ?', item)?.quantity ?? 0
          if (stock < quantity) missing.push({ item, quantity: quantity - stock })
        }
        if (missing.length > 0) return reject('out-of-stock', { missing })
        return emit('OrderPlaced', { order, customer, lines: [...wanted].map(([item, quantity]) => ({ item, quantity })) })
      },
    },
  },

  queries: {
    stock: { run: (_, { db }) => db.all<{ item: string; quantity: number }>('SELECT item, quantity FROM stock ORDER BY item') },
    orders: {
      input: z.object({ customer: z.string() }),
      run({ customer }, { db }) {
        const orders = db.all<{ id: string; at: string }>('SELECT id, at FROM placed WHERE customer = ? ORDER BY at, id', customer)
        const lines = 'SELECT item, -quantity AS quantity FROM movement WHERE placed = ? ORDER BY item'
        return orders.map(order => ({ ...order, lines: db.all<{ item: string; quantity: number }>(lines, order.id) }))
      },
    },
  },
})

/** A moment at which more of an item had gone out than had come in. */
export const invariant = {
  name: 'the stock of nothing ever falls below zero',
  sql: `
    SELECT item, version, quantity
    FROM (SELECT item, version, sum(quantity) OVER (PARTITION BY item ORDER BY version) AS quantity FROM movement)
    WHERE quantity < 0`,
}
