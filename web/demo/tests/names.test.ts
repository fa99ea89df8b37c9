import { describe, expect, it } from 'vitest';
import { hueOf, initialsOf, nameOf, newTab, userIdOf } from '../src/names';

describe('a name as a user id', () => {
  it.each(['Ada', 'Ada Lovelace', 'Zoë', '李雷', 'O’Brien', 'a-b_c', '🦊', 'Robot 2'])('%s comes back', (name) => {
    const id = userIdOf(name, 'k3f9');
    expect(id).toMatch(/^[A-Za-z0-9_-]{1,32}$/);
    expect(nameOf(id)).toBe(name);
  });

  it('keeps an ordinary name readable', () => {
    expect(userIdOf('  Ada   Lovelace ', 'k3f9')).toBe('Ada-Lovelace--k3f9');
  });

  it('cuts a long name between characters, never inside one', () => {
    const id = userIdOf('李雷韩梅梅和他们的朋友', 'k3f9');
    expect(id.length).toBeLessThanOrEqual(32);
    expect('李雷韩梅梅和他们的朋友'.startsWith(nameOf(id))).toBe(true);
    expect(nameOf(id).length).toBeGreaterThan(3);
  });

  it('shows an id that was made elsewhere as it is', () => {
    expect(nameOf('robot')).toBe('robot');
    expect(nameOf('test_user_1')).toBe('test_user_1');
  });

  it('tells two tabs apart', () => {
    expect(newTab()).toMatch(/^[a-z0-9]{4}$/);
    expect(userIdOf('Ada', 'aaaa')).not.toBe(userIdOf('Ada', 'bbbb'));
  });
});

describe('what stands for a name', () => {
  it.each([['Ada', 'A'], ['Ada King Lovelace', 'AL'], ['robot-1', 'R1'], ['李雷', '李'], ['', '?']])('%s: %s', (name, initials) => {
    expect(initialsOf(name)).toBe(initials);
  });

  it('is a colour within the circle', () => {
    for (const name of ['', 'Ada', 'Bob']) expect(hueOf(name)).toBeGreaterThanOrEqual(0);
    expect(hueOf('Ada')).not.toBe(hueOf('Bob'));
  });
});
