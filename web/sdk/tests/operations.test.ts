import { expect, test } from 'vitest';
import { invalidOperation } from '../src/errors.js';
import { ALONE, Operations } from '../src/operations.js';
import { rejectedBy } from './helpers.js';

/** A promise that a test settles. */
function gate(): { opened: Promise<void>; open: () => void } {
  let open: () => void = () => undefined;
  const opened = new Promise<void>((resolve) => (open = resolve));
  return { opened, open };
}

test('operations of one scope follow one another, those of different scopes do not wait', async () => {
  const operations = new Operations();
  const [first, done] = [gate(), [] as string[]];
  const run = (name: string, scope: readonly string[], until?: Promise<void>): Promise<void> =>
    operations.add(name, scope, async () => {
      done.push(`${name} begins`);
      await until;
      done.push(`${name} ends`);
    });
  const all = [run('a1', ['a'], first.opened), run('a2', ['a']), run('b', ['b']), run('all', ALONE), run('c', ['c'])];
  await all[2];
  expect(done).toEqual(['a1 begins', 'b begins', 'b ends']);
  first.open();
  await Promise.all(all);
  expect(done.slice(3)).toEqual(['a1 ends', 'a2 begins', 'a2 ends', 'all begins', 'all ends', 'c begins', 'c ends']);
});

test('an operation that fails does not stop those behind it', async () => {
  const operations = new Operations();
  const failed = rejectedBy(operations.add('one', ALONE, () => Promise.reject(new Error('no'))));
  const next = operations.add('two', ALONE, () => Promise.resolve(2));
  expect([((await failed) as Error).message, await next]).toEqual(['no', 2]);
});

test('cancelling ends the waiting and the running operations, and what is kept goes on', async () => {
  const operations = new Operations();
  const [never, kept] = [gate(), gate()];
  const running = rejectedBy(operations.add('running', ['a'], () => never.opened));
  const waiting = rejectedBy(operations.add('waiting', ['a'], () => Promise.resolve()));
  const other = operations.add('kept', ['b'], () => kept.opened);
  await Promise.resolve();
  operations.cancel((name) => invalidOperation(`${name} is over`), ['kept']);
  expect(((await running) as Error).message).toContain('running is over');
  expect(((await waiting) as Error).message).toContain('waiting is over');
  expect([operations.has('kept'), operations.lastOf('a'), operations.lastOf('b')]).toEqual([true, undefined, 'kept']);
  kept.open();
  await other;
});
