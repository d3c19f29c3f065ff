import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Scratch } from './scratch.ts';

/** A certificate for 127.0.0.1 and localhost that is its own authority; `path` is its file. */
export function makeCertificate(scratch: Pick<Scratch, 'path'>, name = 'authority') {
  const [key, path] = [join(scratch.path, `${name}.key`), join(scratch.path, `${name}.pem`)];
  const subject = ['-subj', `/CN=${name}`, '-addext', 'subjectAltName=IP:127.0.0.1,DNS:localhost'];
  execFileSync(
    'openssl',
    ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2']
      .concat(subject)
      .concat('-keyout', key, '-out', path),
    { stdio: 'ignore' },
  );
  return { key: readFileSync(key, 'utf8'), cert: readFileSync(path, 'utf8'), path };
}
