import type { Outcome } from '../core/report.ts';
import type { Format } from './channel.ts';
import type { Message } from './message.ts';
import { cut, fitLines, inCodeBlock, muteMentions } from './text.ts';

/** https://discord.com/developers/docs/resources/message#embed-object-embed-limits. */
const MAX_TITLE = 256;
const MAX_DESCRIPTION = 4096;
const MAX_FOOTER = 2048;

const COLORS: Readonly<Record<Outcome, number>> = {
  succeeded: 0x2e_a0_43,
  warning: 0xd2_99_22,
  failed: 0xd7_3a_49,
  skipped: 0xd2_99_22,
  interrupted: 0xd7_3a_49,
};
const NEUTRAL = 0x80_80_80;

export const discord: Format = {
  kind: 'discord',
  fits: ({ hostname, pathname, hash }) =>
    hash === '#discord' ||
    (/^((ptb|canary)\.)?discord(app)?\.com$/.test(hostname) && pathname.startsWith('/api/webhooks/')),
  render,
};

function render({ report, title, lines, footer }: Message): unknown {
  const [last = '', ...before] = lines.toReversed();
  return {
    username: 'dbstash',
    allowed_mentions: { parse: [] },
    embeds: [
      {
        title: cut(escapeMarkup(title), MAX_TITLE),
        description: inCodeBlock(fitLines(before.toReversed(), last, MAX_DESCRIPTION - 200)),
        color: report ? COLORS[report.outcome] : NEUTRAL,
        footer: { text: cut(muteMentions(footer), MAX_FOOTER) },
      },
    ],
  };
}

/** A title knows some of its markup, and names have underscores. */
const escapeMarkup = (text: string): string => muteMentions(text).replace(/[\\*_~`|>[\]()<#]/g, '\\$&');
