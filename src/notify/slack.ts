import type { Format } from './channel.ts';
import type { Message } from './message.ts';
import { cut, fitLines, inCodeBlock, muteMentions } from './text.ts';

/** https://docs.slack.dev/reference/block-kit/blocks: of a header and of a section. */
const MAX_TITLE = 150;
const MAX_SECTION = 3000;
/** Slack advises 4,000; escapes make it longer. */
const MAX_TEXT = 3000;

/** Others that take Slack's messages have addresses that end like this, as Discord's own, or say so behind a `#`. */
const HOSTS = /^hooks\.slack(-gov)?\.com$/;
const PATHS = /\/slack\/?$/;

export const slack: Format = {
  kind: 'slack',
  fits: ({ hostname, pathname, hash }) => hash === '#slack' || HOSTS.test(hostname) || PATHS.test(pathname),
  render,
};

/** Slack shows the blocks, whose plain text knows no markup, and `text` in its notifications; its likenesses know only that. */
function render({ title, lines, footer }: Message): unknown {
  return {
    text: inCodeBlock(escapeEntities(fitLines([title, ...lines], footer, MAX_TEXT))),
    blocks: [
      { type: 'header', text: plain(cut(title, MAX_TITLE)) },
      { type: 'section', text: plain(fitLines(lines, footer, MAX_SECTION - 100)) },
    ],
    unfurl_links: false,
    unfurl_media: false,
  };
}

const plain = (text: string) => ({ type: 'plain_text', text: muteMentions(text), emoji: false });

const escapeEntities = (text: string): string =>
  text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
