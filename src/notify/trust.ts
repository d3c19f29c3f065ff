import { readFileSync } from 'node:fs';
import { getCACertificates } from 'node:tls';

type Environment = Readonly<Record<string, string | undefined>>;

/**
 * Node's certificates (NODE_EXTRA_CA_CERTS with them) and those of SSL_CERT_FILE, which Node alone does not read and rclone
 * does; undefined for just Node's. A file that cannot be read is as none: the server's certificate is checked all the same.
 */
export function readTrust({ SSL_CERT_FILE: path }: Environment): string[] | undefined {
  if (!path) return undefined;
  try {
    return [...getCACertificates('default'), readFileSync(path, 'utf8')];
  } catch {
    return undefined;
  }
}
