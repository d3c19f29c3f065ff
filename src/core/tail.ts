/** In the place of a line of which not all could be kept. */
const LOST = '(a line that is too long)';

/**
 * The end of a text, about `max` characters, from the beginning of a line on: half a line may begin within a secret, which
 * nobody could tell from other words any more. May be called again with what it returned and more behind it.
 */
export function keepTail(text: string, max: number): string {
  const whole = text.startsWith(LOST) ? LOST + fromLineBreak(text, LOST.length) : text;
  if (whole.length <= max) return whole;
  const from = whole.length - max;
  if (whole[from - 1] === '\n') return whole.slice(from);
  return fromLineBreak(whole, from).slice(1) || LOST;
}

/** From the next line break on; nothing where there is none. */
function fromLineBreak(text: string, from: number): string {
  const at = text.indexOf('\n', from);
  return at < 0 ? '' : text.slice(at);
}
