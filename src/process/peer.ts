import { readFile } from 'node:fs/promises';
import type { Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';

const ESTABLISHED = '01';
/** The kernel's list may leave out a line while others come and go. */
const LOOKS = 3;

/**
 * Whether a connection over 127.0.0.1 comes from a process of our own user, as the kernel tells it. False where it does
 * not tell, and for one whose other end is gone: such a line has no owner.
 */
export async function isOwnPeer({
  remotePort = 0,
  localPort = 0,
}: Pick<Socket, 'remotePort' | 'localPort'>): Promise<boolean> {
  for (let look = 0; look < LOOKS; look++) {
    const owner = findOwner(await readFile('/proc/net/tcp', 'latin1').catch(() => ''), remotePort, localPort);
    if (owner !== undefined) return owner === process.getuid?.();
    await sleep(10);
  }
  return false;
}

/** The uid of the process that connected from one port to the other. */
function findOwner(table: string, from: number, to: number): number | undefined {
  const fields = table.split('\n').map((line) => line.trim().split(/\s+/));
  // sl, local and remote address, state, queues, timer, retransmits, uid, timeout, inode
  const row = fields.find(([, local, remote, state, , , , , , inode]) => {
    return local === addressOf(from) && remote === addressOf(to) && state === ESTABLISHED && inode !== '0';
  });
  return row && Number(row[7]);
}

/** 127.0.0.1 in the order of this machine's bytes. */
const LOOPBACK = new Uint8Array(new Uint32Array([1]).buffer)[0] === 1 ? '0100007F' : '7F000001';

const addressOf = (port: number): string => `${LOOPBACK}:${port.toString(16).toUpperCase().padStart(4, '0')}`;
