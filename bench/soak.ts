/** Runs the daemon for minutes, a run every two seconds, and prints as Markdown what it holds: `node bench/soak.ts [MINUTES]`. */
import { type SoakSample, soak } from '../test/support/soak.ts';
import { formatTable } from './table.ts';

const HEAD = ['time', 'runs', 'failed', 'memory', 'descriptors', 'children', 'zombies', 'temporary', 'objects'];

const rowOf = (sample: SoakSample): readonly string[] => [
  `${Math.round(sample.seconds)} s`,
  String(sample.runs),
  String(sample.failed),
  `${(sample.residentBytes / 1e6).toFixed(1)} MB`,
  ...[sample.descriptors, sample.children, sample.zombies, sample.temporary, sample.objects].map(String),
];

const minutes = Number(process.argv[2] ?? 5);
const say = (sample: SoakSample) => void process.stderr.write(`soak: ${rowOf(sample).join(', ')}\n`);
const samples = await soak({ seconds: minutes * 60, sampleEverySeconds: minutes * 6, onSample: say });
process.stdout.write(formatTable(HEAD, samples.map(rowOf)));
