import { expect, test } from 'vitest';
import type { Snapshot, StreamInfo } from '../src/generated/messages.js';
import { RoomState, type RoomChange } from '../src/room-state.js';

function stream(userId: string, more: Partial<StreamInfo> = {}): StreamInfo {
  return { userId, streamType: 'main', streamId: `${userId}-1`, audio: true, video: true, ...more };
}

function snapshot(members: string[], streams: StreamInfo[]): Snapshot {
  return { members: members.map((userId) => ({ userId })), streams };
}

/** A change as one line. */
function lines(changes: RoomChange[]): string[] {
  return changes.map((change) =>
    'stream' in change ? `${change.type} ${change.stream.streamId}` : `${change.type} ${change.userId}`,
  );
}

test('a newcomer hears of all users, then of all streams, then of what is muted, each in join order', () => {
  const room = new RoomState();
  const streams = [stream('bob', { videoMuted: true }), stream('ada', { audioMuted: true, videoMuted: true })];
  expect(lines(room.reset(snapshot(['bob', 'eve', 'ada'], streams)))).toEqual([
    'peer-join bob',
    'peer-join eve',
    'peer-join ada',
    'stream-added bob-1',
    'stream-added ada-1',
    'mute-video bob',
    'mute-audio ada',
    'mute-video ada',
  ]);
});

test('the same snapshot again changes nothing', () => {
  const room = new RoomState();
  const state = snapshot(['bob'], [stream('bob', { audioMuted: true })]);
  room.reset(state);
  expect(room.reset(state)).toEqual([]);
});

test('a reconnect tells exactly what happened in between', () => {
  const room = new RoomState();
  room.reset(
    snapshot(
      ['gone', 'stays', 'quiet', 'again'],
      [stream('gone'), stream('stays'), stream('quiet'), stream('again'), stream('stays', { streamType: 'auxiliary', streamId: 'screen' })],
    ),
  );
  const now = snapshot(
    ['stays', 'quiet', 'again', 'new'],
    [
      stream('stays', { video: false }),
      stream('quiet', { audioMuted: true }),
      stream('again', { streamId: 'again-2' }),
      stream('new', { videoMuted: true }),
    ],
  );
  expect(lines(room.reset(now))).toEqual([
    'stream-removed again-1',
    'stream-removed screen',
    'stream-removed gone-1',
    'peer-leave gone',
    'peer-join new',
    'stream-updated stays-1',
    'stream-added again-2',
    'stream-added new-1',
    'mute-audio quiet',
    'mute-video new',
  ]);
});

test('single events follow the same order', () => {
  const room = new RoomState();
  expect(lines(room.apply({ type: 'peer-join', userId: 'bob' }))).toEqual(['peer-join bob']);
  expect(lines(room.apply({ type: 'stream-added', stream: stream('bob', { audioMuted: true }) }))).toEqual([
    'stream-added bob-1',
    'mute-audio bob',
  ]);
  expect(
    lines(room.apply({ type: 'mute-changed', userId: 'bob', streamType: 'main', audioMuted: false, videoMuted: true })),
  ).toEqual(['unmute-audio bob', 'mute-video bob']);
  expect(lines(room.apply({ type: 'stream-updated', stream: stream('bob', { video: false }) }))).toEqual([
    'stream-updated bob-1',
    'unmute-video bob',
  ]);
  expect(lines(room.apply({ type: 'peer-leave', userId: 'bob' }))).toEqual(['stream-removed bob-1', 'peer-leave bob']);
});

test('a stream that was published anew is another stream', () => {
  const room = new RoomState();
  room.reset(snapshot(['bob'], [stream('bob')]));
  expect(lines(room.apply({ type: 'stream-added', stream: stream('bob', { streamId: 'bob-2' }) }))).toEqual([
    'stream-removed bob-1',
    'stream-added bob-2',
  ]);
});

test('events about what is not known change nothing', () => {
  const room = new RoomState();
  expect(room.apply({ type: 'peer-leave', userId: 'eve' })).toEqual([]);
  expect(room.apply({ type: 'stream-removed', userId: 'eve', streamType: 'main', streamId: 'x' })).toEqual([]);
  expect(
    room.apply({ type: 'mute-changed', userId: 'eve', streamType: 'main', audioMuted: true, videoMuted: true }),
  ).toEqual([]);
});

test('mutes of a shared screen are known but not told, for the events name no stream', () => {
  const room = new RoomState();
  room.reset(snapshot(['bob'], [stream('bob', { streamType: 'auxiliary' })]));
  expect(
    room.apply({ type: 'mute-changed', userId: 'bob', streamType: 'auxiliary', audioMuted: true, videoMuted: false }),
  ).toEqual([]);
  expect(room.find('bob', 'auxiliary')?.audioMuted).toBe(true);
});
