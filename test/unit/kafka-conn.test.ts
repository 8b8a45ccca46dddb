import { createServer, type AddressInfo, type Server, type Socket } from 'node:net'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { apiVersions, describeCluster, endTxn, initProducerId, produce } from '../../src/log/kafka/calls.ts'
import { KafkaClient, Refused } from '../../src/log/kafka/client.ts'
import { codeName } from '../../src/log/kafka/codes.ts'
import { Conn, Disconnected } from '../../src/log/kafka/conn.ts'
import type { KafkaSettings } from '../../src/log/kafka/settings.ts'

type Answer = (request: { readonly key: number; readonly version: number; readonly id: number }, socket: Socket) => void

const servers: { server: Server; sockets: Set<Socket> }[] = []
afterEach(() => {
  for (const { server, sockets } of servers.splice(0)) {
    for (const socket of sockets) socket.destroy()
    server.close()
  }
})

/** Something that takes connections and requests, and does as it is told. */
async function broker(answer: Answer): Promise<{ port: number; sockets: Set<Socket> }> {
  const sockets = new Set<Socket>()
  const server = createServer(socket => {
    sockets.add(socket)
    let bytes = Buffer.alloc(0)
    socket.on('error', () => {})
    socket.on('data', chunk => {
      bytes = Buffer.concat([bytes, chunk])
      while (bytes.length >= 4 && bytes.length >= 4 + bytes.readInt32BE(0)) {
        const request = { key: bytes.readInt16BE(4), version: bytes.readInt16BE(6), id: bytes.readInt32BE(8) }
        bytes = bytes.subarray(4 + bytes.readInt32BE(0))
        answer(request, socket)
      }
    })
  })
  servers.push({ server, sockets })
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  return { port: (server.address() as AddressInfo).port, sockets }
}

/** A frame: length, correlation id, body. */
function frame(id: number, ...body: (Buffer | number[])[]): Buffer {
  const bytes = Buffer.concat([Buffer.alloc(8), ...body.map(part => Buffer.from(part))])
  bytes.writeInt32BE(bytes.length - 4, 0)
  bytes.writeInt32BE(id, 4)
  return bytes
}

const shorts = (...numbers: number[]): Buffer => Buffer.from(numbers.flatMap(number => [(number >> 8) & 0xff, number & 0xff]))

/** ApiVersions of a broker that takes every request up to a version. */
function versions(id: number, highest: Readonly<Record<number, number>> = {}): Buffer {
  const keys = [0, 1, 2, 3, 10, 18, 19, 20, 22, 24, 26, 29, 32, 60, 61, 65, 66]
  const ranges = keys.map(key => Buffer.concat([shorts(key, 0, highest[key] ?? 99), Buffer.from([0])]))
  return frame(id, [0, 0, keys.length + 1], ...ranges, [0, 0, 0, 0, 0])
}

function settings(ports: number | readonly number[], over: Partial<KafkaSettings> = {}): KafkaSettings {
  const bootstrap = [ports].flat().map(port => ({ host: '127.0.0.1', port }))
  return { bootstrap, clientId: 'test', requestTimeout: 300, connectTimeout: 300, ...over }
}

const open = (port: number, over: Partial<KafkaSettings> = {}) => Conn.open('127.0.0.1', port, 'a test', settings(port, over))

async function failure(promise: Promise<unknown>): Promise<Disconnected> {
  const error: unknown = await promise.then(
    () => undefined,
    (error: unknown) => error,
  )
  if (error instanceof Disconnected) return error
  throw new Error('not Disconnected', { cause: error })
}

const openSockets = (): number => process.getActiveResourcesInfo().filter(name => name === 'TCPSocketWrap').length

/** Timers of ten seconds and more that were set since the test began and still run: those would keep a process alive. */
const running = new Set<unknown>()
const timers = (): number => running.size

beforeEach(() => {
  running.clear()
  const real = globalThis.setTimeout
  vi.spyOn(globalThis, 'setTimeout').mockImplementation(((act: () => void, delay: number) => {
    const timer = real(act, delay)
    if (delay >= 10_000) running.add(timer)
    return timer
  }) as typeof setTimeout)
  for (const name of ['clearTimeout', 'clearInterval'] as const) {
    const real = globalThis[name]
    vi.spyOn(globalThis, name).mockImplementation(timer => {
      running.delete(timer)
      real(timer)
    })
  }
})
afterEach(() => vi.restoreAllMocks())

describe('a connection', () => {
  test('that nobody takes', async () => {
    const { port } = await broker(() => {})
    const [gone] = servers.splice(0)
    await new Promise(resolve => gone?.server.close(resolve))
    const error = await failure(open(port))
    expect(error).toMatchObject({ sent: false, message: expect.stringContaining('ECONNREFUSED') as string })
  })

  test('to a broker that does not answer is given up, and all requests on it', async () => {
    const { port } = await broker(() => {})
    const conn = await open(port, { requestTimeout: 60_000 })
    const [first, second] = [failure(describeCluster(conn)), failure(apiVersions(conn, { version: 4, patience: 50 }))]
    expect(await second).toMatchObject({ sent: true, message: expect.stringContaining('gave no answer for 50 ms') as string })
    expect(await first).toMatchObject({ sent: true })
    expect(conn.closed).toBe(true)
    expect(await failure(describeCluster(conn))).toMatchObject({ sent: false })
    await new Promise(resolve => setTimeout(resolve, 20))
    expect(timers()).toBe(0)
  })

  test.each<[string, (socket: Socket) => void]>([
    ['closes', socket => socket.end()],
    ['resets', socket => socket.resetAndDestroy()],
    ['answers something else', socket => socket.write(frame(77_777, [1, 2, 3, 4]))],
    ['answers too little', socket => socket.write(frame(1, [0, 0]))],
    ['speaks TLS', socket => socket.write(Buffer.from([0x15, 3, 3, 0, 2, 2, 0x46]))],
  ])('to a broker that %s', async (_, act) => {
    const { port } = await broker((__, socket) => act(socket))
    const conn = await open(port, { requestTimeout: 60_000 })
    const [first, second] = [failure(describeCluster(conn)), failure(describeCluster(conn))]
    await Promise.resolve()
    expect(timers()).toBeGreaterThan(0)
    expect(await first).toMatchObject({ sent: true })
    expect(await second).toMatchObject({ sent: true })
    expect(conn.closed).toBe(true)
    await new Promise(resolve => setTimeout(resolve, 20))
    expect(timers()).toBe(0)
  })

  test('that we close ends what is in flight', async () => {
    const { port } = await broker(() => {})
    const conn = await open(port)
    const waiting = failure(describeCluster(conn))
    await new Promise(resolve => setTimeout(resolve, 10))
    conn.close()
    conn.close()
    expect(await waiting).toMatchObject({ sent: true })
  })

  test('that the broker ends while nothing is asked', async () => {
    const { port, sockets } = await broker(() => {})
    let told = 0
    const conn = await Conn.open('127.0.0.1', port, 'a test', settings(port), { onClose: () => told++ })
    expect(conn.closed).toBe(false)
    for (const socket of sockets) socket.destroy()
    await expect.poll(() => conn.closed, { timeout: 20_000 }).toBe(true)
    conn.close()
    expect(told).toBe(1)
  })

  test('to a broker that reads nothing any more is closed at once', async () => {
    const { port, sockets } = await broker(() => {})
    const conn = await open(port)
    await expect.poll(() => sockets.size, { timeout: 20_000 }).toBe(1)
    for (const socket of sockets) socket.pause()
    const before = openSockets()
    const batch = Buffer.alloc(30_000_000)
    const args = { version: 11, topic: 't', topicId: '', partition: 0, batch, transactionalId: null, timeout: 60_000 } as const
    const sending = failure(produce(conn, args))
    await new Promise(resolve => setTimeout(resolve, 50))
    conn.close()
    expect(await sending).toMatchObject({ sent: true })
    await expect.poll(openSockets, { timeout: 20_000 }).toBeLessThan(before)
  })

  test('of a session that is to be prolonged leaves no timer behind', async () => {
    const { port, sockets } = await broker(({ id, key }, socket) => {
      // The transport asks for versions in a form that we need not answer well.
      if (key === 18) socket.write(frame(id, shorts(35)))
      // SaslHandshake: code, one mechanism. SaslAuthenticate: code, message, bytes, 10 minutes.
      else if (key === 17) socket.write(frame(id, [0, 0, 0, 0, 0, 1, 0, 5], Buffer.from('PLAIN')))
      else socket.write(frame(id, [0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 9, 0x27, 0xc0, 0]))
    })
    for (const end of ['broker', 'us']) {
      const conn = await open(port, { sasl: { mechanism: 'PLAIN', username: 'me', password: () => 'x' } })
      expect(timers()).toBe(1)
      if (end === 'us') conn.close()
      else for (const socket of sockets) socket.end()
      await expect.poll(() => conn.closed && timers(), { timeout: 20_000 }).toBe(0)
    }
  })

  test('holds requests back while its session is prolonged, and keeps their order', async () => {
    const asked: number[] = []
    // The broker's answers to the proof of who we are, from the second on: sent when the test says so.
    const held: (() => void)[] = []
    let hold = false
    const { port } = await broker(({ id, key }, socket) => {
      asked.push(key)
      // A session of 100 ms: the transport begins to prolong it after 80.
      const session = frame(id, [0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 100, 0])
      if (key === 18) socket.write(frame(id, shorts(35)))
      else if (key === 17) socket.write(frame(id, [0, 0, 0, 0, 0, 1, 0, 5], Buffer.from('PLAIN')))
      else if (key === 36 && hold) held.push(() => socket.write(session))
      else if (key === 36) socket.write(session)
      else if (key === 26 || key === 22) socket.write(frame(id, [0, 0, 0, 0, 0, 0, 0], Buffer.alloc(10), [0]))
    })
    const conn = await open(port, { sasl: { mechanism: 'PLAIN', username: 'me', password: () => 'x' }, requestTimeout: 60_000 })
    hold = true
    asked.length = 0
    const prolonging = (): Promise<void> => expect.poll(() => held.length, { interval: 5, timeout: 20_000 }).toBe(1)
    await prolonging()
    const end = { version: 5, transactionalId: 't', producerId: 1n, epoch: 0, commit: true } as const
    const init = { transactionalId: null, timeout: 1, producerId: -1n, epoch: -1 }
    const answers = [endTxn(conn, end), initProducerId(conn, init), endTxn(conn, end)]
    await new Promise(resolve => setTimeout(resolve, 30))
    expect(asked).toEqual([17, 36])
    held.pop()!()
    expect(await Promise.all(answers)).toMatchObject([{ error: 'NONE' }, { error: 'NONE' }, { error: 'NONE' }])
    expect(asked.slice(0, 5)).toEqual([17, 36, 26, 22, 26])
    // What was held back when the connection ended was not sent.
    await prolonging()
    const waiting = failure(endTxn(conn, end))
    conn.close()
    expect(await waiting).toMatchObject({ sent: false })
  })

  test('with a token that the broker refuses says so', async () => {
    const { port } = await broker(({ id, key }, socket) => {
      if (key === 18) socket.write(frame(id, shorts(35)))
      else if (key === 17) socket.write(frame(id, [0, 0, 0, 0, 0, 1, 0, 11], Buffer.from('OAUTHBEARER')))
      else {
        const why = Buffer.from('{"status":"invalid_token"}')
        socket.write(frame(id, [0, 0, 0, 0, why.length + 1], why, [0, 0, 0, 0, 0, 0, 0, 0, 0]))
      }
    })
    const error = await failure(open(port, { sasl: { mechanism: 'OAUTHBEARER', token: () => 's3cret' } }))
    expect(error).toMatchObject({ sent: false, refused: true, message: expect.stringContaining('invalid_token') as string })
    expect(error.message).not.toContain('s3cret')
  })

  test('by a mechanism that the broker does not take names the setting', async () => {
    const { port } = await broker(({ id, key }, socket) => {
      if (key === 18) socket.write(frame(id, shorts(35)))
      // UNSUPPORTED_SASL_MECHANISM, and those that it takes.
      else socket.write(frame(id, shorts(33), [0, 0, 0, 1, 0, 5], Buffer.from('PLAIN')))
    })
    const error = await failure(open(port, { sasl: { mechanism: 'SCRAM-SHA-256', username: 'me', password: () => 's3cret' } }))
    expect(error).toMatchObject({ sent: false, refused: true })
    expect(error.message).toMatch(/Set KAFKA_SASL_MECHANISM to one that the brokers take; it is SCRAM-SHA-256$/)
    expect(error.message).not.toContain('s3cret')
  })

  test('that ends while the broker is told who we are was not refused', async () => {
    const { port } = await broker(({ id, key }, socket) => void (key === 18 ? socket.write(frame(id, shorts(35))) : socket.end()))
    const sasl = { mechanism: 'PLAIN', username: 'me', password: () => 'x' } as const
    expect(await failure(open(port, { sasl }))).toMatchObject({ sent: false, refused: false })
  })

  test('that is closed while it is dialled', async () => {
    // A broker that was stopped: it takes the connection and says nothing to the proof of who we are.
    const { port } = await broker(() => {})
    const sasl = { mechanism: 'PLAIN', username: 'me', password: () => 'x' } as const
    let dialled: Conn | undefined
    const opening = failure(
      Conn.open('127.0.0.1', port, 'a test', settings(port, { sasl, connectTimeout: 60_000, requestTimeout: 60_000 }), {
        onDial: conn => (dialled = conn),
      }),
    )
    await new Promise(resolve => setTimeout(resolve, 30))
    dialled?.close()
    expect(await opening).toMatchObject({ sent: false })
    await new Promise(resolve => setTimeout(resolve, 20))
    expect(timers()).toBe(0)
    expect(await failure(open(port, { sasl, connectTimeout: 50 }))).toMatchObject({ sent: false })
    await new Promise(resolve => setTimeout(resolve, 20))
    expect(timers()).toBe(0)
  })

  test('gives answers in their order, and error codes as values', async () => {
    const { port } = await broker(({ id, key }, socket) => {
      // DescribeCluster: throttle time, code 300, message, endpoint type, cluster, controller, brokers, operations.
      const cluster = [Buffer.from([0, 0, 0, 0, 0]), shorts(300), [3, 0x6e, 0x6f, 1, 1, 0, 0, 0, 9, 1], [0x80, 0, 0, 0], [0]]
      socket.write(key === 18 ? versions(id) : frame(id, ...cluster))
    })
    const conn = await open(port)
    const [one, two] = await Promise.all([describeCluster(conn), apiVersions(conn, { version: 4 })])
    expect(one).toEqual({ error: 'UNKNOWN_CODE_300', message: 'no', clusterId: '', controller: 9, brokers: [] })
    expect(two.ranges.get(3)).toEqual([0, 99])
    conn.close()
  })
})

describe('the client', () => {
  test('names the release of a cluster that is too old', async () => {
    const { port } = await broker(({ id, version }, socket) => {
      // The answer to a version that is not known has the form of version 0.
      if (version > 3) socket.write(frame(id, shorts(35), [0, 0, 0, 1], shorts(18, 0, 3)))
      else socket.write(versions(id, { 1: 16, 18: 3 }))
    })
    const client = new KafkaClient(settings(port))
    await expect(client.metadata('t')).rejects.toMatchObject({
      code: 'log-unusable',
      message: expect.stringContaining('3.7 or 3.8') as string,
    })
    await expect(client.versions()).rejects.toThrow('3.9 or later is needed')
    client.close()
  })

  test('does not wait for a broker that was stopped while another answers', async () => {
    const stopped = await broker(() => {})
    const alive = await broker(({ id, key }, socket) => {
      if (key === 18) socket.write(versions(id))
      // Metadata: throttle time, one broker, cluster id, controller, no topics.
      else socket.write(frame(id, [0, 0, 0, 0, 0, 2, 0, 0, 0, 1, 2, 0x61, 0, 0, 0, 9, 0, 0, 2, 0x63, 0, 0, 0, 1, 1, 0]))
    })
    const client = new KafkaClient(settings([stopped.port, alive.port], { connectTimeout: 5_000, requestTimeout: 5_000 }))
    const from = performance.now()
    for (let i = 0; i < 5; i++)
      expect(await client.metadata()).toMatchObject({ brokers: [{ id: 1, host: 'a', port: 9 }], clusterId: 'c', controller: 1 })
    expect(performance.now() - from).toBeLessThan(2_000)
    client.close()
    await expect(client.metadata()).rejects.toBeInstanceOf(Disconnected)
    await expect(client.connect(1, 'x')).rejects.toBeInstanceOf(Disconnected)
  })

  test('waits for a coordinator, and is told when there can be none', async () => {
    // COORDINATOR_NOT_AVAILABLE, then broker 7; of another id TRANSACTIONAL_ID_AUTHORIZATION_FAILED.
    const codes = [15, 15, 0, 53]
    const { port } = await broker(({ id, key }, socket) => {
      const coordinator = [
        Buffer.from([0, 0, 0, 0, 0, 2, 2, 0x78, 0, 0, 0, 7, 2, 0x61, 0, 0, 0, 9]),
        shorts(codes[0] ?? 0),
        [3, 0x6e, 0x6f, 0, 0],
      ]
      if (key === 18) socket.write(versions(id))
      else {
        socket.write(frame(id, ...coordinator))
        codes.shift()
      }
    })
    const client = new KafkaClient(settings(port, { requestTimeout: 5_000 }))
    expect(await client.coordinator('x')).toBe(7)
    const error: unknown = await client.coordinator('x').catch((error: unknown) => error)
    expect(error).toBeInstanceOf(Refused)
    expect(error).toMatchObject({ code: 'TRANSACTIONAL_ID_AUTHORIZATION_FAILED', message: "the coordinator of 'x' was not found: no" })
    client.close()
  })

  test('believes a coordinator that is doubted only where nobody names another', async () => {
    // Each names the one of its own number as the coordinator.
    const naming = (node: () => number) =>
      broker(({ id, key }, socket) => {
        if (key === 18) socket.write(versions(id))
        else socket.write(frame(id, [0, 0, 0, 0, 0, 2, 2, 0x78, 0, 0, 0, node(), 2, 0x61, 0, 0, 0, 9, 0, 0, 1, 0, 0]))
      })
    let others = 2
    const [parted, ...rest] = await Promise.all([naming(() => 1), naming(() => others), naming(() => others)])
    const client = new KafkaClient(settings([parted.port, ...rest.map(({ port }) => port)], { requestTimeout: 5_000 }))
    for (let i = 0; i < 20; i++) expect(await client.coordinator('x', 1)).toBe(2)
    others = 1
    const from = performance.now()
    expect(await client.coordinator('x', 1)).toBe(1)
    // All have said so: nobody is waited for.
    expect(performance.now() - from).toBeLessThan(1_000)
    client.close()
  })

  test('tells when no broker can be reached', async () => {
    const { port } = await broker(() => {})
    const client = new KafkaClient(settings(port, { connectTimeout: 100 }))
    expect(await failure(client.metadata())).toMatchObject({ sent: false })
    expect(await failure(client.connect(1, 'x'))).toMatchObject({ sent: false })
    expect(await failure(client.coordinator('x'))).toMatchObject({ sent: false })
    client.close()
  })
})

test('codes have names, whatever they are', () => {
  expect([-1, 0, 6, 100, 127, 128, 133, 134, -2, 32_767].map(codeName)).toEqual([
    'UNKNOWN_SERVER_ERROR',
    'NONE',
    'NOT_LEADER_OR_FOLLOWER',
    'UNKNOWN_TOPIC_ID',
    'VOTER_NOT_FOUND',
    'INVALID_REGULAR_EXPRESSION',
    'SHARE_SESSION_LIMIT_REACHED',
    'UNKNOWN_CODE_134',
    'UNKNOWN_CODE_-2',
    'UNKNOWN_CODE_32767',
  ])
})
