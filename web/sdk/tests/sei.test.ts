import { expect, test } from 'vitest';
import { isAnnexB, messagesIn, withMessages, type SeiMessage } from '../src/sei/nal.js';
import { SeiQueue } from '../src/sei/queue.js';
import { LONGEST_MESSAGE, SeiBudget } from '../src/sei/sei.js';
import { seiMessage } from '../src/validate.js';

const TYPES = [5, 243];
const START = [0, 0, 0, 1];
const SPS = [...START, 0x67, 66, 0, 31];
const PPS = [0, 0, 1, 0x68, 206];
const SLICE = [0, 0, 1, 0x65, 1, 2, 3, 0, 0, 1, 0x65, 4, 5];
const PICTURE = Uint8Array.from([...SPS, ...PPS, ...SLICE]);

const bytes = (...numbers: number[]): Uint8Array => Uint8Array.from(numbers);
const message = (type: number, ...data: number[]): SeiMessage => ({ type, data: bytes(...data) });

function random(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
    return state / 2 ** 32;
  };
}

test('what is put into a frame is found there, in front of its picture, and the rest is as it was', () => {
  const messages = [message(243, 1, 2, 3), message(5, ...new Array<number>(300).fill(9)), message(243)];
  const frame = withMessages(PICTURE, messages);
  expect(messagesIn(frame, TYPES)).toEqual(messages);
  const added = frame.length - PICTURE.length;
  const before = SPS.length + PPS.length;
  expect([...frame.slice(0, before), ...frame.slice(before + added)]).toEqual([...PICTURE]);
  expect([...frame.slice(before, before + 5)]).toEqual([...START, 6]);
  expect(withMessages(PICTURE, [])).toBe(PICTURE);
});

test('no byte of a message is taken for the beginning of a unit', () => {
  const next = random(7);
  for (let round = 0; round < 500; round += 1) {
    const data = Array.from({ length: Math.floor(next() * LONGEST_MESSAGE) }, () => Math.floor(next() * 5) % 4);
    const sent = [message(243, ...data), message(5, 0, 0, 1, 0, 0, 0, 1)];
    const frame = withMessages(PICTURE, sent);
    expect(messagesIn(frame, TYPES)).toEqual(sent);
    const before = SPS.length + PPS.length;
    const unit = frame.slice(before + START.length, frame.length - SLICE.length);
    // ITU-T H.264 §7.4.1: no three bytes 0, 0 and 0 to 2 anywhere in it, and no zero at its end.
    expect(unit.some((_, at) => unit[at] === 0 && unit[at + 1] === 0 && (unit[at + 2] ?? 9) <= 2)).toBe(false);
    expect(unit.at(-1)).toBe(0x80);
  }
});

test('messages of other types, of encoders, are left alone', () => {
  const frame = withMessages(PICTURE, [message(1, 8), message(243, 7), message(137, 6)]);
  expect(messagesIn(frame, TYPES)).toEqual([message(243, 7)]);
});

test('a frame without a picture, and one that is none of H.264, stay as they are', () => {
  const head = Uint8Array.from([...SPS, ...PPS]);
  expect(withMessages(head, [message(243, 1)])).toBe(head);
  expect([PICTURE, Uint8Array.from(PPS), bytes(0x90, 0, 0, 1), bytes(0, 0, 0, 2), bytes(0, 0), bytes()].map(isAnnexB)).toEqual([
    true,
    true,
    false,
    false,
    false,
    false,
  ]);
});

test('what lies about its length, or is cut anywhere, gives what is whole and nothing else', () => {
  const whole = [message(243, 1, 2, 3), message(243, 4, 5, 6, 7)];
  const frame = withMessages(PICTURE, whole);
  for (let length = 0; length <= frame.length; length += 1) {
    const found = messagesIn(frame.slice(0, length), TYPES);
    expect(whole.slice(0, found.length)).toEqual(found);
  }
  const lying = [0, 0, 1, 6, 243, 255, 255, 255, 1, 0x80, ...SLICE];
  expect(messagesIn(Uint8Array.from(lying), TYPES)).toEqual([]);
  const endless = [0, 0, 1, 6, ...new Array<number>(1_000).fill(255)];
  expect(messagesIn(Uint8Array.from(endless), TYPES)).toEqual([]);
});

test('a frame may hold any number of messages, of which some are taken', () => {
  const many = Array.from({ length: 300 }, (_, at) => message(243, at % 256));
  expect(messagesIn(withMessages(PICTURE, many), TYPES)).toHaveLength(64);
});

test('random frames do no harm', () => {
  const next = random(3);
  for (let round = 0; round < 2_000; round += 1) {
    const noise = Uint8Array.from({ length: Math.floor(next() * 200) }, () => [0, 0, 1, 6, 243, 255, 3][Math.floor(next() * 7)] ?? 0);
    for (const { data } of messagesIn(noise, TYPES)) expect(data.length).toBeLessThanOrEqual(noise.length);
  }
});

test('a message goes with one frame of each encoding, and not with one that comes too late', () => {
  const queue = new SeiQueue();
  const one = message(243, 1);
  queue.add(0, one);
  expect(queue.take(10, 'big')).toEqual([one]);
  expect(queue.take(40, 'big')).toEqual([]);
  expect(queue.take(50, 'small')).toEqual([one]);
  expect(queue.take(700, 'third')).toEqual([]);
  queue.add(1_000, one);
  expect(queue.take(2_999, 'big')).toEqual([one]);
  queue.add(5_000, one);
  expect(queue.take(7_000, 'big')).toEqual([]);
  for (let at = 0; at < 200; at += 1) queue.add(8_000, message(243, at));
  const waiting = queue.take(8_000, 'big');
  expect([waiting.length, waiting.at(-1)?.data[0]]).toEqual([64, 199]);
});

test('thirty messages and eight kilobytes are a second’s', () => {
  const calls = new SeiBudget();
  const taken = Array.from({ length: 31 }, () => calls.take(0, 1));
  expect(taken.filter(Boolean)).toHaveLength(30);
  expect([calls.take(999, 1), calls.take(1_000, 1)]).toEqual([false, true]);
  const room = new SeiBudget();
  for (let at = 0; at < 8; at += 1) expect(room.take(at, LONGEST_MESSAGE)).toBe(true);
  expect([room.take(8, 1), room.take(1_000, LONGEST_MESSAGE), room.take(1_000, 1)]).toEqual([false, true, false]);
});

test('a message is a buffer, or a view of one, of a length that may be', () => {
  const buffer = bytes(1, 2, 3).buffer;
  expect(seiMessage(buffer, {})).toEqual(message(243, 1, 2, 3));
  expect(seiMessage(bytes(0, 1, 2, 3).subarray(1), { seiPayloadType: 243 })).toEqual(message(243, 1, 2, 3));
  expect(seiMessage(new ArrayBuffer(16), { seiPayloadType: 5 }).data).toHaveLength(16);
  const wrong: [unknown, unknown][] = [
    ['text', {}],
    [undefined, {}],
    [[1, 2], {}],
    [new ArrayBuffer(0), {}],
    [new ArrayBuffer(LONGEST_MESSAGE + 1), {}],
    [new ArrayBuffer(15), { seiPayloadType: 5 }],
    [buffer, { seiPayloadType: 4 }],
    [buffer, null],
  ];
  for (const [given, options] of wrong) expect(() => seiMessage(given, options)).toThrow(/sendSEIMessage: .*0x1000/);
});
