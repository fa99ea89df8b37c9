/** One stay in a room: the client, the people there, and what goes wrong. The view reads the signals. */
import { signal } from '@preact/signals';
import { ErrorCode } from '../../sdk/src/generated/errors';
import { roomOf } from './link';
import { nameOf } from './names';
import { explain, PageError, type Problem } from './problem';
import { ScreenShare } from './screen';
import { TRTC, type Client, type LocalStream, type RemoteStream } from './sdk';
import { admission } from './server';

export interface Person {
  readonly userId: string;
  readonly stream: RemoteStream | null;
  readonly audioMuted: boolean;
  readonly videoMuted: boolean;
  /** Grows when the stream's tracks change, so that its tile looks again. */
  readonly change: number;
}

/** Somebody else's screen. */
export interface Shared {
  readonly userId: string;
  readonly stream: RemoteStream;
}

/** How good the connection is in both directions: 1 excellent to 5 very poor, 6 none, 0 not known yet. */
export interface Quality {
  readonly up: number;
  readonly down: number;
}

export type Role = 'anchor' | 'audience';
export type CallState = 'joining' | 'connected' | 'reconnecting' | 'over';

const STATES: Readonly<Record<string, CallState>> = {
  CONNECTING: 'joining',
  CONNECTED: 'connected',
  RECONNECTING: 'reconnecting',
  DISCONNECTED: 'reconnecting',
};

const REMOVED: Readonly<Record<string, Pick<Problem, 'title' | 'cause' | 'remedy'>>> = {
  kick: {
    title: 'You entered this room somewhere else',
    cause: 'The same user came in from another page, so this one was let go.',
    remedy: 'Go on over there, or join again here.',
  },
  banned: {
    title: 'You were removed from the room',
    cause: 'An administrator of this server removed you.',
    remedy: 'Ask them, or join another room.',
  },
  'room-disband': {
    title: 'The room was closed',
    cause: 'An administrator of this server closed it for everybody.',
    remedy: 'Join another room, or open this one anew by joining it.',
  },
};

export class Call {
  readonly state = signal<CallState>('joining');
  readonly people = signal<readonly Person[]>([]);
  readonly screens = signal<readonly Shared[]>([]);
  readonly quality = signal<Quality>({ up: 0, down: 0 });
  readonly problem = signal<Problem | null>(null);
  readonly role = signal<Role>('anchor');
  readonly screen = new ScreenShare((problem) => (this.problem.value = problem));
  /** The browser keeps sound back until the person clicks. */
  readonly soundBlocked = signal(false);
  /** What a screen reader is told. */
  readonly news = signal('');
  private client: Client | null = null;

  constructor(
    readonly room: string,
    readonly userId: string,
    /** A broadcast: who comes in looks on, until they go on the stage. */
    readonly live: boolean,
    private readonly onOver: (why: Problem | null) => void,
  ) {}

  /** Enters the room, says so, and publishes. Throws a `PageError` when the room cannot be entered. */
  async join(token: string, stream: LocalStream | null, onEntered: () => void): Promise<void> {
    try {
      const { roomId, useStringRoomId } = roomOf(this.room);
      const { sdkAppId, userSig } = await admission(token, this.userId);
      const client = TRTC.createClient({
        mode: this.live ? 'live' : 'rtc',
        sdkAppId,
        userId: this.userId,
        userSig,
        useStringRoomId,
        enableAutoPlayDialog: false,
      });
      this.client = client;
      this.listen(client);
      if (this.live) this.role.value = 'audience';
      await client.join({ roomId, role: this.role.value });
    } catch (error) {
      this.client = null;
      this.state.value = 'over';
      const isOther = (error as { getCode?: () => number }).getCode?.() === ErrorCode.INVALID_OPERATION;
      throw new PageError(isOther ? otherKind(this.live, error) : explain('You could not join the room', error));
    }
    this.state.value = 'connected';
    onEntered();
    if (stream !== null && this.role.value === 'anchor') await this.publish(stream);
  }

  /** Goes on the stage of a broadcast, or down from it. */
  async play(role: Role, stream: LocalStream | null): Promise<void> {
    try {
      if (role === 'audience') await this.screen.stop(this.client);
      await this.client?.switchRole(role);
      this.role.value = role;
    } catch (error) {
      this.report(role === 'anchor' ? 'You could not go on the stage' : 'You could not leave the stage', error);
      return;
    }
    if (role === 'anchor' && stream !== null) await this.publish(stream);
  }

  /** Shares the screen, or stops that. */
  async toggleScreen(): Promise<void> {
    if (this.client === null) return;
    await (this.screen.stream.value === null ? this.screen.start(this.client) : this.screen.stop(this.client));
  }

  /** Leaves the room; the view goes back to the lobby. */
  async leave(): Promise<void> {
    const client = this.client;
    this.end(null);
    try {
      await client?.leave();
    } catch {
      // Nothing is left to leave when the connection is gone already.
    }
  }

  /** Lets the sound out, after a click. */
  async allowSound(): Promise<void> {
    this.soundBlocked.value = false;
    const streams = [...this.people.value, ...this.screens.value].flatMap(({ stream }) => stream ?? []);
    await Promise.allSettled(streams.map((stream) => stream.resume()));
  }

  /** What `play()` of somebody's stream was refused with. */
  playFailed(error: unknown): void {
    const code = (error as { getCode?: () => number } | null)?.getCode?.();
    if (code === ErrorCode.PLAY_NOT_ALLOWED) this.soundBlocked.value = true;
    else this.report('A stream cannot be shown', error);
  }

  private async publish(stream: LocalStream): Promise<void> {
    try {
      await this.client?.publish(stream);
    } catch (error) {
      this.report('The others cannot see or hear you', error);
    }
  }

  private report(title: string, error: unknown): void {
    this.problem.value = explain(title, error);
  }

  private end(why: Problem | null): void {
    if (this.state.value === 'over') return;
    this.state.value = 'over';
    void this.screen.stop(null);
    this.client = null;
    this.onOver(why);
  }

  private update(userId: string, change: (person: Person) => Person): void {
    const known = this.people.value.some((person) => person.userId === userId);
    const fresh: Person = { userId, stream: null, audioMuted: false, videoMuted: false, change: 0 };
    const people = known ? this.people.value : [...this.people.value, fresh];
    this.people.value = people.map((person) => (person.userId === userId ? change(person) : person));
  }

  private listen(client: Client): void {
    client.on('peer-join', ({ userId }) => {
      this.update(userId, (person) => person);
      this.news.value = `${nameOf(userId)} came in`;
    });
    client.on('peer-leave', ({ userId }) => {
      this.people.value = this.people.value.filter((person) => person.userId !== userId);
      this.news.value = `${nameOf(userId)} left`;
    });
    client.on('stream-added', ({ stream }) => {
      client.subscribe(stream).catch((error: unknown) => {
        // Somebody may stop publishing while we subscribe: that is no problem.
        if ((error as { getCode?: () => number }).getCode?.() === ErrorCode.REMOTE_STREAM_NOT_EXIST) return;
        this.report(`${nameOf(stream.getUserId())} cannot be received`, error);
      });
    });
    client.on('stream-subscribed', ({ stream }) => {
      if (stream.getType() === 'auxiliary') {
        const others = this.screens.value.filter((one) => one.stream !== stream);
        this.screens.value = [...others, { userId: stream.getUserId(), stream }];
        this.news.value = `${nameOf(stream.getUserId())} shares a screen`;
        return;
      }
      this.update(stream.getUserId(), (person) => ({ ...person, stream, change: person.change + 1 }));
    });
    client.on('stream-updated', ({ stream }) => {
      this.update(stream.getUserId(), (person) => ({ ...person, change: person.change + 1 }));
    });
    client.on('stream-removed', ({ stream }) => {
      this.screens.value = this.screens.value.filter((one) => one.stream !== stream);
      this.update(stream.getUserId(), (person) =>
        person.stream === stream ? { ...person, stream: null, audioMuted: false, videoMuted: false } : person,
      );
    });
    for (const [event, muted] of [['mute-audio', true], ['unmute-audio', false]] as const) {
      client.on(event, ({ userId }) => this.update(userId, (person) => ({ ...person, audioMuted: muted })));
    }
    for (const [event, muted] of [['mute-video', true], ['unmute-video', false]] as const) {
      client.on(event, ({ userId }) => this.update(userId, (person) => ({ ...person, videoMuted: muted })));
    }
    client.on('network-quality', ({ uplinkNetworkQuality: up, downlinkNetworkQuality: down }) => {
      this.quality.value = { up, down };
    });
    client.on('client-banned', ({ reason, message }) => {
      const removed = REMOVED[reason];
      if (removed) this.end({ ...removed, code: '0x4040 CLIENT_BANNED', detail: message });
    });
    client.on('connection-state-changed', ({ state }) => {
      if (this.state.value !== 'over') this.state.value = STATES[state] ?? this.state.value;
    });
    client.on('error', (error) => {
      // The SDK has tried for as long as the server kept the place; only a new join helps.
      if (error.getCode() === ErrorCode.SIGNAL_CHANNEL_RECONNECTION_FAILED) this.end(explain('The connection was lost', error));
      else this.report('The call has a problem', error);
    });
  }
}

/** The first who comes in decides of which kind a room is. */
function otherKind(live: boolean, error: unknown): Problem {
  return {
    ...explain('You could not join the room', error),
    cause: live ? 'This room is a call, in which everybody is seen.' : 'This room is a broadcast: a few are on the stage, and the others look on.',
    remedy: `${live ? 'Take the tick off' : 'Tick'} “A broadcast” and go in again, or take another room.`,
  };
}
