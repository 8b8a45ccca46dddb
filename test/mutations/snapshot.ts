/** Breakages of starts from snapshots. */
import type { Mutation } from './mutation.ts'

const start = 'src/snapshot/start.ts'

export const snapshot: readonly Mutation[] = [
  {
    name: 'record of a snapshot not compared',
    breaks: 'that the log holds any record where a database of a snapshot stands is enough',
    scene: 'replaced machines',
    edits: [
      {
        file: start,
        find: 'if (record?.tenant !== tenant || recordHash(record.value) !== remembered)',
        replace: 'if (!record)',
      },
    ],
  },
  {
    name: 'what a snapshot lacks forgotten',
    breaks: 'how far each tenant must have come is not taken over from a snapshot',
    scene: 'machines replaced on Kafka',
    edits: [{ file: start, find: 'tenants: new Map(tenants)', replace: 'tenants: new Map(tenants.slice(0, 0))' }],
  },
  {
    name: 'cursor ahead of the databases',
    breaks: 'a start from a snapshot goes on where the database stands that has come furthest',
    scene: 'machines replaced on Kafka',
    edits: [
      { file: start, find: 'const advancesOf = ({ shards }: Snapshot)', replace: 'const advancesOf = ({ shards, databases }: Snapshot)' },
      {
        file: start,
        find: '{ place, cursor, state, types: new Map(types)',
        replace:
          '{ place, cursor: databases.reduce((most, { position }) => Math.max(most, position), cursor), state, types: new Map(types)',
      },
    ],
  },
  {
    name: 'ids left out of a snapshot',
    breaks: 'databases of a snapshot come without their ids',
    scene: 'replaced machines',
    edits: [
      {
        file: 'src/testing/world/disk.ts',
        find: 'adopt: () => {',
        replace: `adopt: () => {
        for (const { keeper } of waiting.values()) keeper.exec('DELETE FROM mainstem_id')`,
      },
    ],
  },
]
