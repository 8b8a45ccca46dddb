/** What a small world consists of: plain data, never changed. */
import type { StrategyName } from '../../../src/consistency.ts'
import type { Fencing } from '../../../src/log/kafka/producer.ts'
import type { Command, Log } from './log.ts'
import type { Input, LogRequest } from './machine.ts'
import type { Point } from './process.ts'

/** How many of each there may be on one way through the world. */
export interface Faults {
  /** It reached the log, and nobody hears the answer. */
  readonly lostReply: number
  /** It does not reach the log, and nobody hears that. */
  readonly lostRequest: number
  /** Its sender is told that nothing is known of it, and then it reaches the log. */
  readonly late: number
  readonly crash: number
  /** A read, or a look at the end, that brings less than there is. */
  readonly stale: number
  /** A leader that lives is taken for dead. */
  readonly suspicion: number
  /** Who should wait for a while does not. Where nobody is in haste, time passes when nothing else can happen. */
  readonly haste: number
}

export const calm: Faults = { lostReply: 0, lostRequest: 0, late: 0, crash: 0, stale: 0, suspicion: 0, haste: 0 }

export interface Setting {
  readonly strategy: StrategyName
  /** Undefined: an embedded log. */
  readonly kafka?: { readonly fencing: Fencing; readonly version: 1 | 2 }
  /** The first process was elected before the others begin. Else whoever wants to lead must have itself elected. */
  readonly led?: boolean
  /** The commands of each writer. */
  readonly writers: readonly (readonly Command[])[]
  readonly faults: Faults
}

/** On its way. `node`: whose request it is, or to whom it goes; -1: nobody waits for it any more. */
export type Message =
  | { readonly kind: 'request'; readonly node: number; readonly who: string; readonly request: LogRequest }
  /** `told`: the command that is answered by it. */
  | { readonly kind: 'heard'; readonly node: number; readonly input: Input; readonly what: string; readonly told?: number }
  | { readonly kind: 'forward'; readonly node: number; readonly to: number; readonly key: string; readonly term: number }
  /** It has arrived there, and is not answered yet. */
  | { readonly kind: 'hosted'; readonly node: number; readonly to: number; readonly key: string; readonly term: number }

/** A message, made once, so that equal ones are one number. */
export interface Sent {
  readonly number: number
  readonly key: string
  readonly message: Message
}

/** How it stands with a command: asked for `tries` times; by now it lies at a process, waits to be asked for (again), or is answered. */
export interface Client {
  readonly number: number
  readonly tries: number
  readonly at: number | 'waits' | 'answered'
  /** The tenant's version when it was asked for the last time: an answer without a record must be as young. */
  readonly since: number
}

/** The log, with what is behind it: equal ones are one number. */
export interface Place {
  readonly number: number
  /** As it is read now. */
  readonly log: Log
}

/** What comes of a request that reaches the log. */
export interface Arrival {
  readonly place: Place
  readonly heard: Input
  readonly what: string
}

/** Where requests arrive. */
export interface Site {
  readonly first: Place
  /** Undefined: not yet. */
  arrive(place: Place, sent: Sent, request: LogRequest): Arrival | undefined
  /** What is heard if nobody knows whether it arrived. */
  lost(request: LogRequest): Input | undefined
  /** What is heard at once, for it does not matter when it is asked. */
  atOnce(place: Place, request: LogRequest): Input | undefined
  /** Whether a request may arrive though its sender has died. */
  readonly outlives: boolean
  /** Something that happens there by itself after a long time. */
  goOn(place: Place): Place | undefined
}

export interface State {
  readonly points: readonly Point[]
  readonly place: Place
  /** In order of their numbers. */
  readonly flight: readonly Sent[]
  readonly clients: readonly Client[]
  readonly left: Faults
}

const keys = new WeakMap<Input, string>()

/** An input in short, different for different ones. */
export function keyOf(input: Input): string {
  if (input.type === 'flush') return `b${input.arriving.map(({ key }) => key).join(' ')}`
  if (input.type === 'records') return `r${input.log.number}`
  if (input.type === 'time') return `t${input.living.join(' ')}`
  let key = keys.get(input)
  if (key === undefined) keys.set(input, (key = textOf(input)))
  return key
}

/** As JSON, with what JSON lacks. */
export const textOf = (value: unknown): string =>
  JSON.stringify(value, (_, each: unknown) => (typeof each === 'bigint' ? `${each}n` : each))
