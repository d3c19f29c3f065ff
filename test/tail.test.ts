import { describe, expect, it } from 'vitest';
import { keepTail } from '../src/core/tail.ts';

describe('keepTail', () => {
  it.each([
    ['short', 'short'],
    ['one\ntwo\nthree', 'two\nthree'],
    ['12345\n1234567890', '1234567890'],
    ['12345\n123456789012', '(a line that is too long)'],
    ['a secret of which the end must not show', '(a line that is too long)'],
  ])('of %j', (text, kept) => {
    expect(keepTail(text, 10)).toBe(kept);
  });

  it('F33: shows nothing of a line that comes piece by piece and is too long, and all that comes after it', () => {
    const add = (tail: string, text: string) => keepTail(tail + text, 30);
    const long = ['the secret is ', 'x'.repeat(40), 'its-end'].reduce(add, '');
    expect(long).toBe('(a line that is too long)');
    expect(add(long, ' of it\nnext')).toBe('(a line that is too long)\nnext');
    expect(add(add(long, ' of it\n'), 'n')).toBe('(a line that is too long)\nn');
    expect(add(long, ' of it\nand another')).toBe('and another');
  });
});
