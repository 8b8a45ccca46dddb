/** Breakages of the machine: the way of a command, reads, leadership. */
import type { Mutation } from './mutation.ts'
import { both, onFile, onKafka, powerCuts, rivals, some } from './only.ts'

const shard = 'src/shard.ts'

export const machine: readonly Mutation[] = [
  {
    name: 'ack at produce instead of read-back',
    breaks: 'callers are answered when the log has the record, not when it was read back and accepted',
    edits: [
      {
        file: shard,
        find: `case 'written':
          if (answer.previous`,
        replace: `case 'written':
          for (const [i, request] of attempt.requests.entries()) this.#reply(request, { kind: 'decided', decision: attempt.record.decisions[i]!, version: attempt.record.base + attempt.record.decisions.slice(0, i + 1).reduce((n, { events }) => n + events.length, 0) })
          if (answer.previous`,
      },
    ],
  },
  {
    name: 'own record taken before its turn',
    breaks: 'an own record is folded at once, whatever stands in front of it',
    only: both(rivals, onFile),
    edits: [{ file: shard, find: 'if (answer.previous === this.#cursor)', replace: 'if (true)' }],
  },
  {
    name: 'unknown taken for not written',
    breaks: 'a batch of unknown outcome is made again at once, and nobody is in doubt',
    scene: 'impatient clients of transactions',
    edits: [
      {
        file: shard,
        find: `for (const request of attempt.requests) {
            request.inDoubt = true
            request.fresh = false
          }
          this.#void(attempt)
          if (answer.fatal)`,
        replace: `this.#void(attempt)
          if (answer.fatal)`,
      },
      {
        file: shard,
        find: `} else this.#doubtful.push(attempt)
          break`,
        replace: `} else {
            this.#land(attempt)
            this.#again(attempt, false)
          }
          break`,
      },
    ],
  },
  {
    name: 'lost unknown outcome',
    breaks: 'a batch of unknown outcome is never settled',
    only: onKafka,
    edits: [
      {
        file: shard,
        find: `} else this.#doubtful.push(attempt)
          break`,
        replace: `}
          break`,
      },
    ],
  },
  {
    name: 'doubt forgotten on the way to the leader',
    breaks: 'a command that was passed on is not held to be in doubt',
    scene: 'impatient clients of a leader',
    edits: [
      {
        file: shard,
        find: `request.inDoubt = true
        this.#out.push({ do: 'forward'`,
        replace: "this.#out.push({ do: 'forward'",
      },
    ],
  },
  {
    name: 'barrier skipped',
    breaks: 'a linearizable read is served like a local one',
    only: rivals,
    edits: [
      {
        file: shard,
        find: "if (read.level === 'linearizable') this.#newReads.push(read)",
        replace: 'if (read.done) this.#newReads.push(read)',
      },
    ],
  },
  {
    name: 'barrier shared too late',
    breaks: 'a linearizable read shares a barrier or look that was sent before it began',
    scene: 'slow reader',
    edits: [
      {
        file: shard,
        find: "if (read.level === 'linearizable') this.#newReads.push(read)",
        replace:
          "if (read.level === 'linearizable') ([...this.#barriers.values(), ...this.#looks.values()].at(-1)?.reads ?? this.#newReads).push(read)",
      },
    ],
  },
  {
    name: 'token ignored',
    breaks: 'a read that asks for a version is served before it is there',
    scene: 'slow reader',
    edits: [
      {
        file: shard,
        find: "const enough = typeof read.level !== 'object' || home.version >= read.level.version",
        replace: 'const enough = true',
      },
    ],
  },
  {
    name: 'rejection without a look',
    breaks: 'a rejection that is not recorded is answered without looking at the head again',
    scene: 'silence',
    edits: [
      {
        file: shard,
        find: 'if (value === undefined) this.#quietAttempts.push(attempt)',
        replace: 'if (value === undefined) this.#quietDone(attempt)',
      },
    ],
  },
  {
    name: 'intact ignored',
    breaks: 'a rejection that is not recorded is answered though its base was left behind',
    scene: 'silence',
    edits: [{ file: shard, find: 'if (attempt.intact) for (const', replace: 'if (attempt.record) for (const' }],
  },
  {
    name: 'rejection on a speculation that failed',
    breaks: 'a rejection that is not recorded is answered though what it saw did not come true',
    only: both(rivals, onFile),
    edits: [{ file: shard, find: 'if (folded.confirmed) this.#reply', replace: 'if (folded.verdicts) this.#reply' }],
  },
  {
    name: 'speculation kept beside others',
    breaks: "somebody else's record does not void the open speculation",
    only: rivals,
    edits: [{ file: shard, find: 'if (attempt && !own) this.#void(attempt)', replace: '' }],
  },
  {
    name: 'append without its condition',
    breaks: 'optimistic writers append whatever stands behind their base',
    only: both(rivals, onKafka, some('optimistic')),
    edits: [{ file: shard, find: 'this.#options.strategy.conditional ? { after: this.#cursor } : {}', replace: '{}' }],
  },
  {
    name: 'refused candidate withdrawing',
    breaks: 'a candidate whose number somebody else has used campaigns no more',
    scene: 'left alone',
    edits: [
      {
        file: shard,
        find: `this.#campaign = undefined
      this.#claiming = false
    }`,
        replace: `if (typeof next === 'string' || stored.value !== this.#campaign.value) this.#retryCampaignAt = Infinity
      this.#campaign = undefined
      this.#claiming = false
    }`,
      },
    ],
  },
  {
    name: 'version of a repeated id',
    breaks: 'the answer to a repeated id counts events of its record that were not accepted',
    edits: [
      {
        file: 'src/replica/engine.ts',
        find: "if (!history.verdicts || history.verdicts[i] === 'accepted') version -=",
        replace: 'version -=',
      },
    ],
  },
  {
    name: "shard cursor ahead of its tenants' files",
    breaks: 'progress is stored without the databases behind it being synced, nor how far they must have come',
    only: powerCuts,
    edits: [
      {
        file: shard,
        find: "if (status === 'open') tenant?.tidy(this.#state)",
        replace: "if (status === 'checking') tenant?.tidy(this.#state)",
      },
      {
        file: shard,
        find: `const tenants = this.#touched
`,
        replace: `const tenants = new Map<string, number>()
`,
      },
    ],
  },
  {
    name: 'command dropped at the switch',
    breaks: 'what was on its way when another release was made the active one is forgotten',
    scene: 'releases to and fro',
    edits: [
      {
        file: shard,
        find: 'if (request.done || this.#passesBack(request)) continue',
        replace: 'if (request.done || this.#passesBack(request) || this.#isSuperseded()) continue',
      },
    ],
  },
  {
    name: 'replaced release campaigning',
    breaks: 'a replica of a release that is not the active one claims the shard',
    scene: 'releases to and fro',
    only: some('leader'),
    edits: [{ file: shard, find: 'return this.#state.sealed || this.#isSuperseded()', replace: 'return this.#state.sealed' }],
  },
]
