/** Breakages of the machine: the way of a command, reads, leadership. */
import type { Mutation } from './mutation.ts'

const shard = 'src/shard.ts'

export const machine: readonly Mutation[] = [
  {
    name: 'ack at produce instead of read-back',
    breaks: 'callers are answered when the log has the record, not when it was read back and accepted',
    edits: [
      {
        file: shard,
        find: "case 'written':\n          if (answer.previous",
        replace:
          "case 'written':\n          for (const [i, request] of attempt.requests.entries()) this.#reply(request, { kind: 'decided', decision: attempt.record.decisions[i]!, version: attempt.record.base + attempt.record.decisions.slice(0, i + 1).reduce((n, { events }) => n + events.length, 0) })\n          if (answer.previous",
      },
    ],
  },
  {
    name: 'own record taken before its turn',
    breaks: 'an own record is folded at once, whatever stands in front of it',
    edits: [{ file: shard, find: 'if (answer.previous === this.#cursor)', replace: 'if (true)' }],
  },
  {
    name: 'unknown taken for not written',
    breaks: 'a batch of unknown outcome is made again at once, and nobody is in doubt',
    edits: [
      {
        file: shard,
        find: 'for (const request of attempt.requests) {\n            request.inDoubt = true\n            request.fresh = false\n          }\n          this.#void(attempt)\n          if (answer.fatal)',
        replace: 'this.#void(attempt)\n          if (answer.fatal)',
      },
      {
        file: shard,
        find: '} else this.#doubtful.push(attempt)\n          break',
        replace: '} else {\n            this.#land(attempt)\n            this.#again(attempt, false)\n          }\n          break',
      },
    ],
  },
  {
    name: 'lost unknown outcome',
    breaks: 'a batch of unknown outcome is never settled',
    edits: [{ file: shard, find: '} else this.#doubtful.push(attempt)\n          break', replace: '}\n          break' }],
  },
  {
    name: 'doubt forgotten on the way to the leader',
    breaks: 'a command that was passed on is not held to be in doubt',
    edits: [
      { file: shard, find: "request.inDoubt = true\n        this.#out.push({ do: 'forward'", replace: "this.#out.push({ do: 'forward'" },
    ],
  },
  {
    name: 'barrier skipped',
    breaks: 'a linearizable read is served like a local one',
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
    edits: [{ file: shard, find: 'if (attempt.intact) for (const', replace: 'if (attempt.record) for (const' }],
  },
  {
    name: 'rejection on a speculation that failed',
    breaks: 'a rejection that is not recorded is answered though what it saw did not come true',
    edits: [{ file: shard, find: 'if (folded.confirmed) this.#reply', replace: 'if (folded.verdicts) this.#reply' }],
  },
  {
    name: 'speculation kept beside others',
    breaks: "somebody else's record does not void the open speculation",
    edits: [{ file: shard, find: 'if (attempt && !own) this.#void(attempt)', replace: '' }],
  },
  {
    name: 'append without its condition',
    breaks: 'optimistic writers append whatever stands behind their base',
    edits: [{ file: shard, find: 'this.#options.strategy.conditional ? { after: this.#cursor } : {}', replace: '{}' }],
  },
  {
    name: 'refused candidate withdrawing',
    breaks: 'a candidate whose number somebody else has used campaigns no more',
    edits: [
      {
        file: shard,
        find: 'this.#campaign = undefined\n      this.#claiming = false\n    }',
        replace:
          'if (stored.value !== this.#campaign.value) this.#retryCampaignAt = Infinity\n      this.#campaign = undefined\n      this.#claiming = false\n    }',
      },
    ],
  },
  {
    name: "shard cursor ahead of its tenants' files",
    breaks: 'progress is stored without the databases behind it being synced, nor how far they must have come',
    edits: [
      {
        file: shard,
        find: "if (status === 'open') tenant?.tidy(this.#state)",
        replace: "if (status === 'checking') tenant?.tidy(this.#state)",
      },
      { file: shard, find: 'const tenants = this.#touched\n', replace: 'const tenants = new Map<string, number>()\n' },
    ],
  },
]
