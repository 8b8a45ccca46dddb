/** Before each file of test/kafka: without brokers it fails, and says why there are none. */
import { inject } from 'vitest'

if (inject('noKafka') !== '') throw new Error(inject('noKafka'))
