import type { NotifyConfig, Smtp } from '../config/notify.ts';
import { DbstashError } from '../core/errors.ts';
import type { Channel, Surroundings } from './channel.ts';
import type { Message } from './message.ts';
import { cut, fitLines, plainLine } from './text.ts';
import { readTrust } from './trust.ts';

/** Servers refuse what is much larger, and people do not read it. */
const MAX_TEXT = 20_000;
const MAX_SUBJECT = 200;
const MAX_REASON_LENGTH = 200;

export function createEmail(mail: NonNullable<NotifyConfig['mail']>, around: Surroundings): Channel {
  return {
    kind: 'email',
    title: `email by ${mail.smtp.host}:${mail.smtp.port}`,
    send: async (message, signal) => {
      const { createTransport } = await import('nodemailer');
      const transport = createTransport(describeServer(mail.smtp, around));
      const letter = { ...writeLetter(message), from: mail.from, to: [...mail.to], signal };
      const { rejectedErrors = [] } = await transport.sendMail(letter).catch((error: unknown) => {
        throw signal.aborted ? signal.reason : explain(error, around);
      });
      if (rejectedErrors.length > 0) throw explain({ rejectedErrors }, around);
    },
  };
}

/** Certificates are checked wherever there is TLS. */
function describeServer({ host, port, user, password, tls }: Smtp, { env, hostname }: Surroundings) {
  const ca = readTrust(env);
  return {
    host,
    port,
    secure: tls === 'implicit',
    requireTLS: tls === 'require',
    ignoreTLS: tls === 'disable',
    ...(user !== undefined && { auth: { user, pass: password ?? '' } }),
    tls: { minVersion: 'TLSv1.2' as const, ...(ca && { ca }) },
    // In EHLO: a name without a dot is refused by some.
    ...(hostname.includes('.') && { name: hostname }),
    socketCloseTimeout: 500,
    disableFileAccess: true,
    disableUrlAccess: true,
  };
}

function writeLetter({ title, lines, footer }: Message) {
  const text = fitLines(lines, `\n${footer}`, MAX_TEXT);
  return {
    subject: cut(title, MAX_SUBJECT),
    text: `${text}\n`,
    html: `<p><b>${escapeHtml(title)}</b></p>\n<pre>${escapeHtml(text)}</pre>\n`,
    // No holiday notes in answer to it.
    headers: { 'Auto-Submitted': 'auto-generated' },
  };
}

const escapeHtml = (text: string): string =>
  text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;');

/** Of recipients each that was refused, with the server's reason. */
function explain(error: unknown, { redact }: Surroundings): DbstashError {
  const { rejectedErrors = [] } = error as { rejectedErrors?: readonly { recipient?: string; message: string }[] };
  const refused = rejectedErrors.map(({ recipient, message }) => `${recipient} was refused: ${clean(redact(message))}`);
  if (refused.length > 0) return new DbstashError(refused.join('; '));
  return new DbstashError(clean(redact(error instanceof Error ? error.message : String(error))));
}

const clean = (text: string): string => cut(plainLine(text), MAX_REASON_LENGTH);
