import { describe, expect, it } from 'vitest';
import { explain, explainDevice, PageError } from '../src/problem';

function coded(code: number, extra = 0): Error {
  return Object.assign(new Error('join failed: signature expired (70001) <SIGNAL_CHANNEL_SETUP_FAILED 0x4001>'), {
    getCode: () => code,
    getExtraCode: () => extra,
  });
}

describe('an error explained', () => {
  it('names the code of the application and the code behind it, and explains the one behind', () => {
    const problem = explain('You could not join the room', coded(0x4001, 70001));
    expect(problem.code).toBe('0x4001 SIGNAL_CHANNEL_SETUP_FAILED');
    expect(problem.behind).toBe('70001 USERSIG_EXPIRED');
    expect(problem.cause).toMatch(/lifetime is over/);
    expect(problem.remedy).not.toBe('');
    expect(problem.detail).toContain('70001');
  });

  it('explains the code itself when nothing is behind it', () => {
    const problem = explain('No', coded(0x4041));
    expect(problem.behind).toBeUndefined();
    expect(problem.code).toBe('0x4041 SERVER_TIMEOUT');
  });

  it('owns up to a code that the catalogue does not hold', () => {
    expect(explain('No', coded(12345)).cause).toMatch(/does not hold/);
  });

  it('passes on what the page found itself', () => {
    const problem = { title: 'a', cause: 'b', remedy: 'c' };
    expect(explain('No', new PageError(problem))).toBe(problem);
  });

  it.each(['NotAllowedError', 'NotFoundError', 'NotReadableError', 'OverconstrainedError', 'AbortError', 'InsecureContext', 'Odd'])(
    'tells what to do about %s',
    (name) => {
      expect(explainDevice({ name }).remedy).toMatch(/\w/);
    },
  );
});
