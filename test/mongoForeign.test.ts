import { BSON, type Document } from 'mongodb';
import { describe, expect, it } from 'vitest';
import { mongo } from '../src/engines/mongo.ts';

const END = Buffer.from('ffffffff', 'hex');

/** As mongodump 100.x writes the beginning of an archive. */
function archiveOf(namespaces: readonly string[], data: readonly Document[] = []): Buffer {
  const records = namespaces.map((namespace) => {
    const [db, collection] = namespace.split('.');
    return { db, collection, metadata: JSON.stringify({ indexes: [] }), size: new BSON.Int32(1), type: 'collection' };
  });
  const header = { concurrent_collections: new BSON.Int32(4), version: '0.1', server_version: '7.0.5' };
  return Buffer.concat([
    Buffer.from('6de29981', 'hex'),
    ...[{ ...header, tool_version: '100.9.4' }, ...records].map((document) => BSON.serialize(document)),
    END,
    ...data.map((document) => BSON.serialize(document)),
  ]);
}

const recognise = (archive: Buffer) => mongo.recognise(archive.toString('latin1'));

describe('an archive that another run of mongodump left', () => {
  it('is of the one database that it names, whatever its documents say', () => {
    const found = recognise(archiveOf(['shop.orders', 'shop.users'], [{ db: 'bank', tool_version: '0' }]));
    expect(found).toMatchObject({
      facts: { database: 'shop' },
      databases: ['shop'],
      tool: 'mongodump 100.9.4',
      server: 'MongoDB 7.0.5',
    });
    expect(found?.refusal).toBeUndefined();
  });

  it('is of a whole server, with its oplog, where it names several, those of the server too', () => {
    expect(recognise(archiveOf(['.oplog', 'admin.system.version', 'shop.orders']))).toMatchObject({
      facts: { database: null, databases: ['shop'], oplog: true },
      databases: ['admin', 'shop'],
    });
  });

  it('is refused where a database may be named behind what was read of it', () => {
    const many = Array.from({ length: 300 }, (_, index) => `aardvark.collection${index}`);
    const whole = archiveOf([...many, 'shop.orders']);
    expect(recognise(whole)?.databases).toEqual(['aardvark', 'shop']);
    expect(recognise(whole.subarray(0, 16_384))?.refusal).toContain('which databases it is of');
  });

  it.each([
    ['a record without a size', Buffer.from('0000000000', 'hex')],
    ['a record of less than nothing', Buffer.from('f0ffffff00', 'hex')],
    ['a string of less than nothing', Buffer.from('20000000026400f0ffffff6100', 'hex')],
    ['a name without an end', Buffer.from('200000000264642e2e2e', 'hex')],
  ])('is not read in circles where it has %s', (_, damage) => {
    const head = archiveOf([]).subarray(0, -END.length);
    const damaged = Buffer.concat([head, damage]);
    expect(recognise(damaged)?.refusal).toContain('which databases it is of');
    const request = { mode: 'stream', format: 'archive', facts: {}, path: 'a', wanted: ['b'] } as const;
    const connection = { database: 'shop' } as never;
    const { parse } = mongo.planContents({ ...request, connection });
    expect(() => parse({ stdout: damaged.toString('hex'), stderr: '', exitCode: 0 })).toThrow('makes no sense');
  });
});
