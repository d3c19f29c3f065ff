/** The name of a database that a drill makes. `id` is one of a backup's kind: 20260207T020000Z-a1b2c3. */
export const drillName = (id: string): string => `dbstash_drill_${id.toLowerCase().replaceAll('-', '_')}`;

/** When the drill began that a database is of, or one of several that it made; undefined of any other. */
export function drillDay(name: string): Date | undefined {
  const [, ...parts] = /^dbstash_drill_(\d{4})(\d\d)(\d\d)t\d{6}z_[0-9a-f]{6}(?:_\d+)?$/.exec(name) ?? [];
  return parts.length === 0 ? undefined : new Date(parts.join('-'));
}
