import type { Engine } from './engine.ts';
import { planMysqlCheck } from './mydumper.ts';
import { mysqlDrill } from './mysqlDrill.ts';
import { mysqldumpVersion, planMysqlDump } from './mysqlDump.ts';
import { type Flavor, MARIADB, MYSQL } from './mysqlFlavor.ts';
import { recogniseMysql } from './mysqlForeign.ts';
import { discoverMysql, inspectMysql } from './mysqlInspect.ts';
import { planMysqlContents } from './mysqlPick.ts';
import { planMysqlRestore } from './mysqlRestore.ts';
import { inspectMysqlTarget } from './mysqlTarget.ts';

const createEngine = (flavor: Flavor) =>
  ({
    name: flavor.name,
    title: flavor.title,
    defaultPort: 3306,
    defaultUser: 'root',
    uriSchemes: flavor.uriSchemes,
    modes: ['stream', 'file', 'directory', 'tar'],
    maintenanceDatabase: 'information_schema',
    tool: mysqldumpVersion(flavor),
    inspect: inspectMysql(flavor),
    discover: discoverMysql(flavor),
    planDump: planMysqlDump(flavor),
    planContents: planMysqlContents(flavor),
    inspectTarget: inspectMysqlTarget(flavor),
    planRestore: planMysqlRestore(flavor),
    planCheck: planMysqlCheck,
    recognise: recogniseMysql,
    drill: mysqlDrill(flavor),
  }) satisfies Engine;

export const mysql = createEngine(MYSQL);
export const mariadb = createEngine(MARIADB);
