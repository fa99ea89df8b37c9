import { expect, test } from 'vitest';
import { Emitter } from '../src/emitter.js';
import { LogLevel, setLogLevel } from '../src/logger.js';

interface Events {
  added: { id: number };
  gone: undefined;
}

class Subject extends Emitter<Events> {
  fire = this.emit.bind(this);
}

test('handlers are called in the order of their registration, with their context', () => {
  const subject = new Subject();
  const seen: unknown[] = [];
  const context = { name: 'context' };
  subject.on('added', ({ id }) => seen.push(id));
  subject.on('added', function (this: unknown) {
    seen.push(this);
  }, context);
  subject.fire('added', { id: 7 });
  expect(seen).toEqual([7, context]);
});

test('off takes away one handler, one event, or everything', () => {
  const subject = new Subject();
  const seen: string[] = [];
  const first = (): unknown => seen.push('first');
  subject.on('added', first);
  subject.on('added', () => seen.push('second'));
  subject.on('gone', () => seen.push('gone'));
  subject.off('added', first);
  subject.fire('added', { id: 1 });
  expect(seen).toEqual(['second']);
  subject.off('added');
  subject.fire('added', { id: 2 });
  expect(seen).toEqual(['second']);
  subject.off('*');
  subject.fire('gone', undefined);
  expect(seen).toEqual(['second']);
});

test('a handler that throws does not keep the others from hearing', () => {
  setLogLevel(LogLevel.NONE);
  const subject = new Subject();
  const seen: number[] = [];
  subject.on('added', () => {
    throw new Error('an app has a bug');
  });
  subject.on('added', ({ id }) => seen.push(id));
  expect(() => subject.fire('added', { id: 3 })).not.toThrow();
  expect(seen).toEqual([3]);
});

test('a handler may take itself away while it is called', () => {
  const subject = new Subject();
  const seen: number[] = [];
  const once = ({ id }: { id: number }): void => {
    seen.push(id);
    subject.off('added', once);
  };
  subject.on('added', once);
  subject.on('added', ({ id }) => seen.push(id * 10));
  subject.fire('added', { id: 1 });
  subject.fire('added', { id: 2 });
  expect(seen).toEqual([1, 10, 20]);
});
