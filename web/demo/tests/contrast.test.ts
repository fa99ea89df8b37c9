import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';

const css = readFileSync(new URL('../src/styles/base.css', import.meta.url), 'utf8');
const [day = '', night = ''] = css.split('@media (prefers-color-scheme: dark)');

function colours(block: string): Record<string, string> {
  const found = [...block.matchAll(/--([a-z-]+): (#[0-9a-f]{6});/g)];
  return Object.fromEntries(found.map((one) => [one[1] ?? '', one[2] ?? '']));
}

/** Relative luminance, WCAG 2.2. */
function luminance(colour: string): number {
  const parts = [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16) / 255);
  const linear = parts.map((part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4));
  return 0.2126 * (linear[0] ?? 0) + 0.7152 * (linear[1] ?? 0) + 0.0722 * (linear[2] ?? 0);
}

function contrast(one = '#000000', other = '#000000'): number {
  const [high = 0, low = 0] = [luminance(one), luminance(other)].sort((a, b) => b - a);
  return (high + 0.05) / (low + 0.05);
}

const TEXT = [
  ['ink', 'paper'], ['ink', 'card'], ['ink', 'red-paper'], ['soft', 'paper'], ['soft', 'card'], ['soft', 'sunk'],
  ['soft', 'red-paper'], ['green', 'card'], ['green', 'sunk'], ['on-green', 'green'], ['on-green', 'green-deep'],
  ['on-red', 'red'],
];

describe.each([['day', colours(day)], ['night', { ...colours(day), ...colours(night) }]])('by %s', (_, palette) => {
  it.each(TEXT)('%s can be read on %s (WCAG AA)', (ink, ground) => {
    expect(contrast(palette[ink], palette[ground])).toBeGreaterThanOrEqual(4.5);
  });

  it.each([['brass', 'paper'], ['brass', 'card'], ['red', 'paper']])('%s is seen on %s', (mark, ground) => {
    expect(contrast(palette[mark], palette[ground])).toBeGreaterThanOrEqual(3);
  });
});
