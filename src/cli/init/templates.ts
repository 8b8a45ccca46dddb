/** The files of a new app, as `mainstem init` writes them. */

/** Not written out in the files below, for nothing in here imports the package by its name. */
const self = 'mainstem'

export interface Choices {
  /** Of the app. */
  readonly name: string
  /** What npm installs as mainstem: a version, a tarball, a folder. */
  readonly dependency: string
}

const packageJson = ({ name, dependency }: Choices) =>
  `${JSON.stringify(
    {
      name,
      version: '0.1.0',
      private: true,
      type: 'module',
      engines: { node: '>=24.10' },
      scripts: { test: 'node --test', types: 'tsc' },
      dependencies: { mainstem: dependency, zod: '^4.1.0' },
      devDependencies: { '@types/node': '^24.0.0', typescript: '^5.9.0 || ^7.0.0' },
    },
    null,
    2,
  )}\n`

const app = ({ name }: Choices) => `/** Seats, each sold once at a time. Change it into your own app. */
import { app, sqlite } from '${self}'
import { z } from 'zod'

const seat = z.string().min(1).max(20)
const guest = z.string().min(1).max(100)

export default app('${name}', {
  // What can happen. Events are stored for ever; the tables are made of them.
  events: {
    SeatReserved: z.object({ seat, guest }),
    SeatReleased: z.object({ seat }),
  },

  // The tables. Change them as you like: another SQL makes a new database from the same events.
  database: sqlite(\`
    CREATE TABLE reservation (seat TEXT PRIMARY KEY, guest TEXT NOT NULL) STRICT;
  \`),

  // One function per event brings it into the tables. Nothing else writes them.
  project: {
    SeatReserved: (db, { seat, guest }) => db.run('INSERT INTO reservation VALUES (?, ?)', seat, guest),
    SeatReleased: (db, { seat }) => db.run('DELETE FROM reservation WHERE seat = ?', seat),
  },

  // What can be asked for. A command reads the whole database and answers with events, or says no. Its scope names all that its decision
  // depends on: commands without a tag in common do not get into each other's way. Without a scope it is everything.
  commands: {
    reserve: {
      input: z.object({ seat, guest }),
      scope: ({ seat }) => [\`seat:\${seat}\`],
      decide({ seat, guest }, { db, emit, reject }) {
        const taken = db.get<{ guest: string }>('SELECT guest FROM reservation WHERE seat = ?', seat)
        return taken ? reject('seat-taken', { by: taken.guest }) : emit('SeatReserved', { seat, guest })
      },
    },

    release: {
      input: z.object({ seat, guest }),
      scope: ({ seat }) => [\`seat:\${seat}\`],
      decide({ seat, guest }, { db, emit, reject }) {
        const taken = db.get<{ guest: string }>('SELECT guest FROM reservation WHERE seat = ?', seat)
        if (!taken) return reject('seat-free')
        if (taken.guest !== guest) return reject('not-your-seat')
        return emit('SeatReleased', { seat })
      },
    },
  },

  queries: {
    taken: { run: (_, { db }) => db.all<{ seat: string; guest: string }>('SELECT seat, guest FROM reservation ORDER BY seat') },
  },
})
`

const test = () => `import { test } from 'node:test'
import { given } from '${self}/testing'
import seats from './app.ts'

test('a free seat can be reserved', () => {
  given(seats)
    .when('reserve', { seat: 'A1', guest: 'Ann' })
    .accepts(['SeatReserved', { seat: 'A1', guest: 'Ann' }])
    .answers('taken', [{ seat: 'A1', guest: 'Ann' }])
})

test('a seat is sold once', () => {
  given(seats)
    .event('SeatReserved', { seat: 'A1', guest: 'Ann' })
    .when('reserve', { seat: 'A1', guest: 'Ben' })
    .rejects('seat-taken', { by: 'Ann' })
})

test('a seat that was released can be sold again', () => {
  given(seats)
    .event('SeatReserved', { seat: 'A1', guest: 'Ann' })
    .when('release', { seat: 'A1', guest: 'Ann' })
    .accepts(['SeatReleased', { seat: 'A1' }])
    .when('reserve', { seat: 'A1', guest: 'Ben' })
    .accepts(['SeatReserved', { seat: 'A1', guest: 'Ben' }])
})

test('nobody gives away what somebody else has', () => {
  given(seats)
    .event('SeatReserved', { seat: 'A1', guest: 'Ann' })
    .when('release', { seat: 'A1', guest: 'Ben' })
    .rejects('not-your-seat')
})
`

const config = ({
  name,
}: Choices) => `/** What \`mainstem\` works on when it is called in this folder. Options and MAINSTEM_... variables come first. */
export default {
  app: './app.ts',
  // These are the defaults:
  // log: 'file:.mainstem/${name}.log',
  // data: '.mainstem/data',
  // strategy: 'optimistic',
}
`

const tsconfig = () => `{
  "compilerOptions": {
    "target": "es2024",
    "module": "nodenext",
    "types": ["node"],
    "strict": true,
    "noEmit": true,
    "allowImportingTsExtensions": true,
    "erasableSyntaxOnly": true,
    "verbatimModuleSyntax": true,
    "skipLibCheck": true
  },
  "include": ["*.ts"]
}
`

const readme = ({ name }: Choices) => `# ${name}

An app on [Mainstem](https://www.npmjs.com/package/mainstem): one log of events, one SQLite database made of them. Needs Node 24.10 or newer.

\`\`\`sh
npm install
npm test                                                      # the rules, given / when / then
npm run types                                                 # what the compiler says
npx mainstem exec reserve '{"seat":"A1","guest":"Ann"}'       # accepted
npx mainstem exec reserve '{"seat":"A1","guest":"Ben"}'       # rejected: seat-taken
npx mainstem query taken
npx mainstem sql 'SELECT count(*) AS seats FROM reservation'
npx mainstem log tail --from 1                                # what happened
npx mainstem verify                                           # the database is what the log says, row by row
\`\`\`

| file | holds |
|---|---|
| \`app.ts\` | events, tables, projections, commands, queries |
| \`app.test.ts\` | what each rule must do |
| \`mainstem.config.ts\` | which app, log and data \`mainstem\` works on here |
| \`.mainstem/\` | the log (the truth: back it up with \`npx mainstem backup FILE\`) and the database (may be deleted: it is replayed) |
`

const gitignore = () => `node_modules/
.mainstem/
`

export const templates: readonly (readonly [file: string, text: (choices: Choices) => string])[] = [
  ['package.json', packageJson],
  ['app.ts', app],
  ['app.test.ts', test],
  ['mainstem.config.ts', config],
  ['tsconfig.json', tsconfig],
  ['README.md', readme],
  ['.gitignore', gitignore],
]
