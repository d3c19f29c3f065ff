import { expect, it } from 'vitest';
import { type SoakSample, soak } from './support/soak.ts';

const MAX_GROWTH_BYTES = 25_000_000;

it('the daemon holds no more after many runs, good and failed ones, than after a few', {
  timeout: 300_000,
}, async () => {
  const samples = await soak({ seconds: 75, sampleEverySeconds: 5 });
  const half = samples.slice(Math.floor(samples.length / 2));
  const [middle, last] = [half[0]!, half.at(-1)!];
  const told = JSON.stringify(samples, null, 1);
  expect(last.runs, told).toBeGreaterThan(5);
  expect(last.runs - last.failed, told).toBeGreaterThan(last.failed);
  expect(last.failed, told).toBeGreaterThan(0);
  const least = (pick: (sample: SoakSample) => number, of: readonly SoakSample[]) => Math.min(...of.map(pick));
  const growth = least((s) => s.residentBytes, half.slice(-3)) - least((s) => s.residentBytes, samples.slice(2, 6));
  expect(growth, told).toBeLessThan(MAX_GROWTH_BYTES);
  expect(last.descriptors - middle.descriptors, told).toBeLessThanOrEqual(2);
  for (const { children, zombies, temporary } of samples)
    expect([children, zombies, temporary], told).toEqual([0, 0, 0]);
  // Five backups with their manifests, and what a failed run may have left for a day.
  expect(last.objects, told).toBeLessThanOrEqual(10 + 3 * last.failed);
});
