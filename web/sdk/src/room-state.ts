import type { RemoteMutedState } from './types.js';
import type { AnyEvent, Snapshot, StreamInfo, StreamType } from './generated/messages.js';

/** A stream with its mute state always said. */
export type RemoteInfo = Required<StreamInfo>;

/** One thing that changed in the room, under the name of the event that tells of it. */
export type RoomChange =
  | { type: 'peer-join' | 'peer-leave' | MuteEvent; userId: string }
  | { type: 'stream-added' | 'stream-updated' | 'stream-removed'; stream: RemoteInfo };
type MuteEvent = 'mute-audio' | 'unmute-audio' | 'mute-video' | 'unmute-video';

export function streamKey(userId: string, streamType: StreamType): string {
  return `${streamType} ${userId}`;
}

function complete(info: StreamInfo): RemoteInfo {
  return { ...info, audioMuted: info.audioMuted ?? false, videoMuted: info.videoMuted ?? false, small: info.small ?? false };
}

/**
 * What this client knows of the others in its room. Each method takes in what the server says and returns what changed
 * by it, in the order in which an app is told: a stream before its mutes, a user's streams before the user is gone.
 */
export class RoomState {
  private readonly members = new Set<string>();
  private readonly streams = new Map<string, RemoteInfo>();

  /** All streams, in the order in which they came. */
  list(): RemoteInfo[] {
    return [...this.streams.values()];
  }

  /** What every user's main stream has and what of it is muted, in the order of the streams. */
  mutedStates(): RemoteMutedState[] {
    const streams = this.list().filter((info) => info.streamType === 'main');
    return streams.map(({ userId, audio, video, small, audioMuted, videoMuted }) => ({
      userId,
      hasAudio: audio,
      hasVideo: video,
      hasSmall: small,
      audioMuted,
      videoMuted,
    }));
  }

  find(userId: string, streamType: StreamType): RemoteInfo | undefined {
    return this.streams.get(streamKey(userId, streamType));
  }

  /** The room as it stands now: the difference to what was known. */
  reset(snapshot: Snapshot): RoomChange[] {
    const present = new Set(snapshot.members.map((member) => member.userId));
    const published = new Map(snapshot.streams.map((info) => [streamKey(info.userId, info.streamType), info]));
    const changes: RoomChange[] = [];
    for (const known of this.list()) {
      const now = published.get(streamKey(known.userId, known.streamType));
      if (now?.streamId !== known.streamId && present.has(known.userId)) changes.push(...this.remove(known));
    }
    for (const userId of [...this.members].filter((one) => !present.has(one))) changes.push(...this.depart(userId));
    for (const userId of present) changes.push(...this.arrive(userId));
    const mutes: RoomChange[] = [];
    for (const info of published.values()) {
      const [stream, mute] = this.put(complete(info));
      changes.push(...stream);
      mutes.push(...mute);
    }
    return [...changes, ...mutes];
  }

  /** One event of the server; those that are not about the room change nothing. */
  apply(event: AnyEvent): RoomChange[] {
    switch (event.type) {
      case 'peer-join':
        return this.arrive(event.userId);
      case 'peer-leave':
        return this.depart(event.userId);
      case 'stream-added':
      case 'stream-updated': {
        const { userId, streamType, streamId } = event.stream;
        const known = this.find(userId, streamType);
        const replaced = known && known.streamId !== streamId ? this.remove(known) : [];
        return [...replaced, ...this.arrive(userId), ...this.put(complete(event.stream)).flat()];
      }
      case 'stream-removed': {
        const known = this.find(event.userId, event.streamType);
        return known ? this.remove(known) : [];
      }
      case 'mute-changed': {
        const known = this.find(event.userId, event.streamType);
        return known ? this.put({ ...known, audioMuted: event.audioMuted, videoMuted: event.videoMuted }).flat() : [];
      }
      default:
        return [];
    }
  }

  private arrive(userId: string): RoomChange[] {
    if (this.members.has(userId)) return [];
    this.members.add(userId);
    return [{ type: 'peer-join', userId }];
  }

  private depart(userId: string): RoomChange[] {
    const streams = this.list().filter((info) => info.userId === userId);
    const changes = streams.flatMap((info) => this.remove(info));
    if (this.members.delete(userId)) changes.push({ type: 'peer-leave', userId });
    return changes;
  }

  private remove(stream: RemoteInfo): RoomChange[] {
    this.streams.delete(streamKey(stream.userId, stream.streamType));
    return [{ type: 'stream-removed', stream }];
  }

  /** Takes a stream in: what changed of the stream, and what changed of its mutes. */
  private put(stream: RemoteInfo): [RoomChange[], RoomChange[]] {
    const key = streamKey(stream.userId, stream.streamType);
    const known = this.streams.get(key);
    this.streams.set(key, stream);
    const changes: RoomChange[] = [];
    if (!known) changes.push({ type: 'stream-added', stream });
    else if (known.audio !== stream.audio || known.video !== stream.video) changes.push({ type: 'stream-updated', stream });
    // The mute events carry no stream, so they speak of the main one alone.
    const mutes: RoomChange[] = [];
    if (stream.streamType === 'main') {
      const { userId } = stream;
      if (stream.audioMuted !== (known?.audioMuted ?? false)) {
        mutes.push({ type: stream.audioMuted ? 'mute-audio' : 'unmute-audio', userId });
      }
      if (stream.videoMuted !== (known?.videoMuted ?? false)) {
        mutes.push({ type: stream.videoMuted ? 'mute-video' : 'unmute-video', userId });
      }
    }
    return [changes, mutes];
  }
}
