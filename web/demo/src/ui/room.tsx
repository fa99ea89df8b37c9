import type { JSX } from 'preact';
import { useEffect, useLayoutEffect, useRef, useState } from 'preact/hooks';
import type { Call, CallState } from '../call';
import { nameOf } from '../names';
import type { OwnMedia } from '../own-media';
import { TRTC } from '../sdk';
import { bestGrid } from './grid';
import { Icon, Mark } from './icons';
import { DevicePickers } from './lobby';
import { Switch } from './preview';
import { ProblemCard } from './problem-card';
import { QualityMark } from './quality';
import { Tile } from './tile';

interface RoomProps {
  readonly call: Call;
  readonly media: OwnMedia;
  readonly invite: string;
}

const STATE_WORDS: Readonly<Record<CallState, string>> = {
  joining: 'Connecting',
  connected: 'Connected',
  reconnecting: 'Connection lost, trying again',
  over: 'Left',
};

const GAP = 12;

/** The call: everybody as a tile, and the few things one does in a call. */
export function Room({ call, media, invite }: RoomProps): JSX.Element {
  const people = call.people.value;
  const { screen } = call;
  const onStage = call.role.value === 'anchor';
  const screens = call.screens.value.length + (screen.stream.value === null ? 0 : 1);
  const grid = useGrid(people.length + screens + (onStage ? 1 : 0));
  const [open, setOpen] = useState(true);
  const problem = call.problem.value;
  const trouble = media.trouble.value;
  useEffect(() => {
    if (trouble !== null) call.problem.value = trouble;
  }, [trouble]);
  useEffect(() => setOpen(true), [problem]);
  useShortcuts(media);
  return (
    <main class="room">
      <header class="room-head">
        <Mark />
        <h1>
          <span class="room-word">Room</span> {call.room}
        </h1>
        <p class={`state ${call.state.value}`} role="status">
          <span class="state-dot" />
          <span class="state-word">{STATE_WORDS[call.state.value]}</span>
        </p>
        <QualityMark quality={call.quality.value} />
        <p class="count" aria-label={`${String(people.length + (onStage ? 1 : 0))} ${call.live ? 'on the stage' : 'in the room'}`}>
          <Icon name={call.live ? 'stage' : 'people'} />
          {people.length + (onStage ? 1 : 0)}
        </p>
        {problem !== null && !open && (
          <button type="button" class="quiet round" aria-label="Show the last problem" title="The last problem" onClick={() => setOpen(true)}>
            <Icon name="warning" />
          </button>
        )}
      </header>
      {call.soundBlocked.value && (
        <div class="banner">
          <p>Your browser keeps the sound back until you click.</p>
          <button type="button" class="primary" onClick={() => void call.allowSound()}>
            <Icon name="sound" />
            Turn the sound on
          </button>
        </div>
      )}
      <ul class="grid" ref={grid} aria-label="People in the room">
        {screen.stream.value !== null && (
          <Tile name="Your screen" screen stream={screen.stream.value} audioMuted={false} videoMuted={false} />
        )}
        {call.screens.value.map(({ userId, stream }) => (
          <Tile
            key={stream.getId()}
            name={`${nameOf(userId)}’s screen`}
            screen
            stream={stream}
            audioMuted={false}
            videoMuted={false}
            onPlayFailed={(error) => call.playFailed(error)}
          />
        ))}
        {onStage && (
          <Tile
            name={nameOf(call.userId)}
            own
            stream={media.stream.value}
            audioMuted={!media.audioOn.value}
            videoMuted={!media.videoOn.value}
          />
        )}
        {people.map((person) => (
          <Tile
            key={person.userId}
            name={nameOf(person.userId)}
            stream={person.stream}
            change={person.change}
            audioMuted={person.audioMuted}
            videoMuted={person.videoMuted}
            onPlayFailed={(error) => call.playFailed(error)}
          />
        ))}
      </ul>
      <footer class="controls">
        {people.length === 0 && call.state.value === 'connected' && <p class="alone">{wordsAlone(call.live, onStage)}</p>}
        <div class="control-row">
          {onStage && (
            <>
              <Switch on={media.audioOn.value} there={media.hasAudio.value} what="microphone" keys="M" onClick={() => media.toggleAudio()} />
              <Switch on={media.videoOn.value} there={media.hasVideo.value} what="camera" keys="V" onClick={() => media.toggleVideo()} />
              <ScreenSwitch call={call} />
              {media.source.value === 'devices' && media.asking.value === 'ready' && <Devices media={media} />}
            </>
          )}
          {call.live && (
            <button type="button" class="switch wide" onClick={() => void call.play(onStage ? 'audience' : 'anchor', media.stream.value)}>
              <Icon name="stage" />
              <span>{onStage ? 'Leave the stage' : 'Go on the stage'}</span>
            </button>
          )}
          <CopyLink link={invite} />
          <button type="button" class="leave" onClick={() => void call.leave()}>
            <Icon name="leave" />
            <span>Leave</span>
          </button>
        </div>
      </footer>
      {problem !== null && open && (
        <div class="problem-corner">
          <ProblemCard problem={problem} onClose={() => setOpen(false)} />
        </div>
      )}
      <p class="unseen" aria-live="polite">
        {call.news.value}
      </p>
    </main>
  );
}

function wordsAlone(live: boolean, onStage: boolean): string {
  if (live) return onStage ? 'You are on the stage. Whoever has the link can look on.' : 'Nobody is on the stage yet.';
  return 'Nobody else is here yet. Copy the link and send it to somebody.';
}

/** Shares the screen, where the browser can. */
function ScreenSwitch({ call }: { call: Call }): JSX.Element | null {
  if (!TRTC.isScreenShareSupported()) return null;
  const shares = call.screen.stream.value !== null;
  const text = shares ? 'Stop sharing your screen' : 'Share your screen';
  return (
    <button
      type="button"
      class={`switch${shares ? ' sharing' : ''}`}
      disabled={call.screen.busy.value}
      aria-pressed={shares}
      aria-label={text}
      title={text}
      onClick={() => void call.toggleScreen()}
    >
      <Icon name="screen" />
    </button>
  );
}

/** Another camera or microphone while the call goes on. */
function Devices({ media }: { media: OwnMedia }): JSX.Element {
  return (
    <details class="devices">
      <summary class="switch" aria-label="Choose camera and microphone" title="Choose camera and microphone">
        <Icon name="devices" />
      </summary>
      <div class="devices-card">
        <DevicePickers media={media} />
      </div>
    </details>
  );
}

function CopyLink({ link }: { link: string }): JSX.Element {
  const [copied, setCopied] = useState(false);
  useEffect(() => {
    if (!copied) return undefined;
    const timer = setTimeout(() => setCopied(false), 2500);
    return () => clearTimeout(timer);
  }, [copied]);
  const copy = (): void => {
    navigator.clipboard.writeText(link).then(
      () => setCopied(true),
      // Without leave to write to the clipboard, the person copies by hand.
      () => prompt('Copy this link:', link),
    );
  };
  return (
    <button type="button" class="switch wide" onClick={copy} aria-label="Copy the link of this room" title="Copy the link of this room">
      <Icon name={copied ? 'done' : 'link'} />
      <span aria-live="polite">{copied ? 'Copied' : 'Copy link'}</span>
    </button>
  );
}

/** Keeps the tiles as large as the space allows. */
function useGrid(count: number): { current: HTMLUListElement | null } {
  const grid = useRef<HTMLUListElement>(null);
  useLayoutEffect(() => {
    const element = grid.current;
    if (element === null) return undefined;
    const fit = (): void => {
      const { width, height } = element.getBoundingClientRect();
      const shape = bestGrid(count, width, height, GAP);
      element.style.setProperty('--tile', `${String(Math.max(140, shape.tileWidth))}px`);
      element.style.setProperty('--aspect', String(shape.aspect));
    };
    const observer = new ResizeObserver(fit);
    observer.observe(element);
    fit();
    return () => observer.disconnect();
  }, [count]);
  return grid;
}

/** M and V are the two switches, unless somebody types or holds a modifier. */
function useShortcuts(media: OwnMedia): void {
  useEffect(() => {
    const onKey = (event: KeyboardEvent): void => {
      if (event.repeat || event.ctrlKey || event.metaKey || event.altKey || event.target instanceof HTMLInputElement) return;
      if (event.key.toLowerCase() === 'm' && media.hasAudio.value) media.toggleAudio();
      if (event.key.toLowerCase() === 'v' && media.hasVideo.value) media.toggleVideo();
    };
    addEventListener('keydown', onKey);
    return () => removeEventListener('keydown', onKey);
  }, [media]);
}
