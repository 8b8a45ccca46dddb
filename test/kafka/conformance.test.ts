/** Real brokers, with every strategy and every fence. */
import { conformance } from '../conformance/suite.ts'
import { kafkaWays } from '../support/ways.ts'

conformance((['kafka', 'kafka-shards'] as const).flatMap(log => kafkaWays.map(way => ({ log, ...way }))))
