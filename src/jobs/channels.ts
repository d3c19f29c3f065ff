import type { Config } from '../config/config.ts';

/** Where messages would go. An address is its key, so of it the host alone. */
export function describeChannels({ notify: { webhooks, mail, pingUrl, on } }: Config): readonly string[] {
  const place = (url: string) => new URL(url).host;
  return [
    ...webhooks.map((url) => `message to ${place(url)} on ${on}`),
    ...(mail ? [`mail to ${mail.to.join(', ')} by ${mail.smtp.host} on ${on}`] : []),
    ...(pingUrl === undefined ? [] : [`ping to ${place(pingUrl)} at start and end`]),
  ];
}
