/** Manifests that are shipped: what they name is there, and blue and green differ in nothing but what they must. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'
import { parse, parseAllDocuments } from 'yaml'

const folder = fileURLToPath(new URL('../../deploy', import.meta.url))
const read = (path: string): string => readFileSync(join(folder, path), 'utf8')

interface Manifest {
  readonly kind: string
  readonly metadata: { readonly name: string }
  readonly spec: any
}

const manifests = (path: string): Manifest[] =>
  parseAllDocuments(read(path)).map(document => {
    expect(document.errors).toEqual([])
    return document.toJS() as Manifest
  })

test('compose: replicas of both colours are those that HAProxy knows, all in one network', () => {
  const { services, volumes } = parse(read('compose.yaml'), { merge: true }) as {
    services: Record<string, any>
    volumes: Record<string, null>
  }
  const servers = [...read('haproxy/haproxy.cfg').matchAll(/^ {4}server (\S+) 127\.0\.0\.1:(\d+)$/gm)].map(([, name, port]) => [
    name!,
    port!,
  ])
  const { haproxy, kafka, ...replicas } = services
  expect(Object.keys(replicas)).toEqual(servers.map(([name]) => name))
  for (const [name, port] of servers) {
    const replica = replicas[name!]
    expect(replica.command).toBe(`npx mainstem serve app.ts --port ${port} --data /data`)
    expect(replica.environment).toEqual({ MAINSTEM_LOG: 'kafka://127.0.0.1:9092/app', MAINSTEM_RELEASE: name!.split('-')[0] })
    expect(replica.volumes.at(-1)).toBe(`${name}:/data`)
    expect(replica.profiles).toEqual(name!.startsWith('green') ? ['green'] : undefined)
    // The drain, and what is on its way behind it.
    expect(Number.parseInt(replica.stop_grace_period, 10)).toBeGreaterThan(15)
  }
  for (const service of [kafka, ...Object.values(replicas)]) expect(service).toMatchObject({ network_mode: 'service:haproxy' })
  // Only what comes in through HAProxy comes from outside.
  expect(Object.values(services).flatMap(({ ports = [] }) => ports)).toEqual(['127.0.0.1:8000:8000'])
  expect(haproxy.environment.MAINSTEM_BIND).toBe(':8000')
  expect(Object.keys(volumes)).toEqual(['kafka', ...servers.map(([name]) => name)])
})

test('kubernetes: green is blue but for name and image; the service finds both, and their probes tell it who is ready', () => {
  expect(parse(read('kubernetes/kustomization.yaml')).resources).toEqual(['service.yaml', 'replicas.yaml'])
  expect(parse(read('kubernetes/green/kustomization.yaml')).resources).toEqual(['replicas.yaml'])
  const blue = read('kubernetes/replicas.yaml')
  const rest = (text: string) => text.slice(text.indexOf('\n'))
  expect(rest(read('kubernetes/green/replicas.yaml'))).toBe(rest(blue.replaceAll('blue', 'green').replace('app:1', 'app:2')))
  const [set] = manifests('kubernetes/replicas.yaml')
  const [service, names] = manifests('kubernetes/service.yaml')
  const { template, selector, serviceName, volumeClaimTemplates } = set!.spec
  expect(template.metadata.labels).toMatchObject(selector.matchLabels)
  expect(template.metadata.labels).toMatchObject(service!.spec.selector)
  expect(serviceName).toBe(names!.metadata.name)
  const [replica] = template.spec.containers
  expect(replica.ports.map(({ name }: { name: string }) => name)).toEqual(['http', 'replicas'])
  expect(service!.spec.ports[0].targetPort).toBe('http')
  expect(replica.readinessProbe.httpGet).toEqual({ path: '/readyz', port: 'http' })
  expect(replica.livenessProbe.httpGet).toEqual({ path: '/livez', port: 'http' })
  const volumes = [...template.spec.volumes.map(({ name }: { name: string }) => name), volumeClaimTemplates[0].metadata.name]
  expect(new Set(replica.volumeMounts.map(({ name }: { name: string }) => name))).toEqual(new Set(volumes))
  const drain = Number.parseInt(replica.args.at(-1), 10)
  expect(template.spec.terminationGracePeriodSeconds).toBeGreaterThan(drain + 15)
})
