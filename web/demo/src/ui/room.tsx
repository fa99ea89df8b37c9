import type { JSX } from 'preact';
import { useEffect, useLayoutEffect, useRef, useState } from 'preact/hooks';
import type { Call, CallState } from '../call';
import { nameOf } from '../names';
import type { OwnMedia } from '../own-media';
import { bestGrid } from './grid';
import { Icon, Mark } from './icons';
import { Switch } from './preview';
import { ProblemCard } from './problem-card';
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
  const grid = useGrid(people.length + 1);
  const [open, setOpen] = useState(true);
  const problem = call.problem.value;
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
        <p class="count" aria-label={`${String(people.length + 1)} in the room`}>
          <Icon name="people" />
          {people.length + 1}
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
        <Tile
          name={nameOf(call.userId)}
          own
          stream={media.stream.value}
          audioMuted={!media.audioOn.value}
          videoMuted={!media.videoOn.value}
        />
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
        {people.length === 0 && call.state.value === 'connected' && <p class="alone">Nobody else is here yet. Copy the link and send it to somebody.</p>}
        <div class="control-row">
          <Switch on={media.audioOn.value} there={media.hasAudio.value} what="microphone" keys="M" onClick={() => media.toggleAudio()} />
          <Switch on={media.videoOn.value} there={media.hasVideo.value} what="camera" keys="V" onClick={() => media.toggleVideo()} />
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
