import type { AddressInfo } from 'node:net';
import { SMTPServer, type SMTPServerOptions } from 'smtp-server';

export interface Mail {
  readonly from: string;
  readonly to: readonly string[];
  readonly user: string | undefined;
  readonly isEncrypted: boolean;
  /** As it came, headers first. */
  readonly text: string;
}

export interface MailServer extends AsyncDisposable {
  readonly port: number;
  readonly mails: readonly Mail[];
}

interface MailServerOptions extends Pick<SMTPServerOptions, 'key' | 'cert' | 'secure' | 'size'> {
  /** Of the user `me`, who then has to log in. */
  readonly password?: string;
  readonly refuses?: readonly string[];
}

/** A mail server that keeps what it is sent. Without a certificate it offers no STARTTLS. */
export async function startMailServer({
  password,
  refuses = [],
  ...options
}: MailServerOptions = {}): Promise<MailServer> {
  const mails: Mail[] = [];
  const server = new SMTPServer({
    ...options,
    // By itself it would bring a certificate of its own.
    disabledCommands: options.key === undefined ? ['STARTTLS'] : [],
    authOptional: password === undefined,
    allowInsecureAuth: true,
    onAuth: ({ username, password: given }, _, callback) => {
      const isRight = username === 'me' && given === password;
      callback(isRight ? null : new Error(`no login with ${given}`), isRight ? { user: 'me' } : undefined);
    },
    onRcptTo: ({ address }, _, callback) => {
      if (!refuses.includes(address)) return callback();
      callback(Object.assign(new Error(`nobody is called ${address}`), { responseCode: 550 }));
    },
    onData: (stream, session, callback) => {
      const chunks: Buffer[] = [];
      stream.on('data', (chunk: Buffer) => chunks.push(chunk));
      stream.on('end', () => {
        if (stream.sizeExceeded) return callback(Object.assign(new Error('too large'), { responseCode: 552 }));
        const { mailFrom, rcptTo } = session.envelope;
        mails.push({
          from: mailFrom === false ? '' : mailFrom.address,
          to: rcptTo.map(({ address }) => address),
          user: typeof session.user === 'string' ? session.user : undefined,
          isEncrypted: session.secure,
          text: Buffer.concat(chunks).toString(),
        });
        callback();
      });
    },
  });
  server.on('error', () => {});
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', () => resolve()));
  return {
    port: (server.server.address() as AddressInfo).port,
    mails,
    [Symbol.asyncDispose]: () => new Promise((resolve) => server.close(() => resolve())),
  };
}
