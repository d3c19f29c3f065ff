import { formatCount } from '../core/units.ts';

/** Text that tools and servers had a hand in, made harmless for where it is shown. */

/** Control characters, and those that turn the direction of what follows or cannot be seen. */
const HIDDEN = /[\p{Cc}\p{Cf}\u2028\u2029]/gu;

/** One line. */
export const plainLine = (text: string): string => plainText(text).replace(/\s+/g, ' ').trim();

/** Lines. */
export const plainText = (text: string): string =>
  text
    .replace(/\r\n?|[\u2028\u2029]/g, '\n')
    .split('\n')
    .map((line) => line.replaceAll('\t', '  ').replace(HIDDEN, ''))
    .filter((line) => line.trim() !== '')
    .join('\n');

/** As much as fits, by whole lines where there are several; `last` is there in any case. */
export function fitLines(lines: readonly string[], last: string, limit: number): string {
  const whole = [...lines, last].join('\n');
  if (whole.length <= limit) return whole;
  const left = (count: number) => `… ${formatCount(count, 'more line')}\n${last}`;
  const kept: string[] = [];
  let room = limit - left(lines.length).length - 1;
  for (const line of lines) {
    if (line.length > room) {
      if (room > 40) kept.push(cut(line, room));
      break;
    }
    kept.push(line);
    room -= line.length + 1;
  }
  const rest = lines.length - kept.length;
  return [...kept, rest > 0 ? left(rest) : last].join('\n');
}

/** Never in the middle of a character. */
export function cut(text: string, limit: number): string {
  if (text.length <= limit) return text;
  return `${text.slice(0, limit - 1).replace(/[\uD800-\uDBFF]$/, '')}…`;
}

/** What chat programs tell everybody by: as text. */
export const muteMentions = (text: string): string =>
  text.replace(/@(?=\s*(everyone|here|channel|all)\b)/gi, '@\u200b');

/** Text that stands in a block of code: nothing in it is markup, a link or a mention. */
export const inCodeBlock = (text: string): string => `\`\`\`\n${muteMentions(text).replaceAll('`', "'")}\n\`\`\``;
