import { BSON, type CreateIndexesOptions, type Db, type IndexSpecification } from 'mongodb';

/** A value of every type that mongo-java-server keeps: all but code with a scope, symbols, and binary data of users' own kinds. */
const VALUES: Readonly<Record<string, unknown>> = {
  double: new BSON.Double(1.5),
  'whole double': new BSON.Double(1),
  'negative zero': new BSON.Double(-0),
  nan: Number.NaN,
  infinity: Number.POSITIVE_INFINITY,
  string: 'é "\'\\\0\r\n\u2028',
  'empty string': '',
  document: { b: 1, a: { '': null } },
  array: [1, [2, {}], []],
  binary: new BSON.Binary(Buffer.from([0, 1, 255])),
  uuid: new BSON.UUID('11111111-2222-4333-8444-555555555555'),
  objectId: new BSON.ObjectId('65a000000000000000000001'),
  boolean: true,
  'date before 1970': new Date(-1),
  null: null,
  regex: new BSON.BSONRegExp('a/b"', 'im'),
  code: new BSON.Code('function () { return "x"; }'),
  int: new BSON.Int32(-1),
  timestamp: new BSON.Timestamp({ t: 5, i: 6 }),
  long: BSON.Long.MAX_VALUE,
  decimal: BSON.Decimal128.fromString('1.10E-5'),
  minKey: new BSON.MinKey(),
  maxKey: new BSON.MaxKey(),
  reference: new BSON.DBRef('c', new BSON.ObjectId('65a000000000000000000002'), 'elsewhere'),
};

/** Names of fields that look like something else. */
const ODD_FIELDS = ['', 'a.b', '$x', 'ü ~', '-o', '__proto__', 'back\\slash "quoted"'];

const INDEXES: readonly (readonly [IndexSpecification, CreateIndexesOptions])[] = [
  [{ a: 1, b: -1 }, {}],
  [{ a: 1 }, { unique: true, sparse: true, name: 'one of a kind' }],
  [{ c: 1 }, { partialFilterExpression: { c: { $gt: 1 } }, name: 'partial' }],
  [{ d: 1 }, { expireAfterSeconds: 3_600_000 }],
  [{ e: 'text' }, { weights: { e: 3 }, default_language: 'german' }],
  [{ 'n.m': 1 }, {}],
];

const ODD_COLLECTIONS = ['-o', 'we ird/é', 'a*b', 'dots.in.it', 'x'.repeat(100)];

/** Fills a database of mongo-java-server with what may get lost on the way. */
export async function fillDatabase(db: Db): Promise<void> {
  const fields = ODD_FIELDS.map((name): [string, unknown] => [name, Object.fromEntries([[name, 1]])]);
  const values = [...Object.entries(VALUES), ...fields].map(([name, value], index) => ({ _id: index, name, value }));
  await db.collection<{ _id: unknown }>('values').insertMany(values);
  for (const [key, options] of INDEXES) await db.collection('indexed').createIndex(key, options);
  await db.collection('indexed').insertMany(Array.from({ length: 30 }, (_, i) => ({ a: i, c: i, e: `Wort ${i}` })));
  for (const name of ODD_COLLECTIONS) await db.collection(name).insertOne({ name });
  await db.createCollection('empty');
  const many = Array.from({ length: 5000 }, (_, i) => ({ _id: i, text: `${i} `.repeat(i % 50) }));
  await db.collection<{ _id: number }>('many').insertMany(many);
}
