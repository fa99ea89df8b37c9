import { signal } from '@preact/signals';
import type { JSX } from 'preact';
import { useEffect } from 'preact/hooks';
import { Call } from '../call';
import { inviteLink, parseLink } from '../link';
import { newTab, userIdOf } from '../names';
import { OwnMedia } from '../own-media';
import { explain, type Problem } from '../problem';
import { WRONG_LINK } from '../server';
import { Lobby } from './lobby';
import { Room } from './room';

const link = parseLink(location.hash);
const media = new OwnMedia();
const name = signal(link.name || (localStorage.getItem('parlour.name') ?? ''));
const room = signal(link.room || '1');
const live = signal(link.live);
const call = signal<Call | null>(null);
const joining = signal(false);
const problem = signal<Problem | null>(link.token === '' ? WRONG_LINK : null);

/** One per tab and kept through a reload, so that the reloaded page is the same user. */
function tab(): string {
  const kept = sessionStorage.getItem('parlour.tab') ?? newTab();
  sessionStorage.setItem('parlour.tab', kept);
  return kept;
}

async function join(): Promise<void> {
  if (joining.value) return;
  joining.value = true;
  problem.value = null;
  localStorage.setItem('parlour.name', name.value.trim());
  const made = new Call(room.value.trim(), userIdOf(name.value, tab()), live.value, (why) => {
    call.value = null;
    problem.value = why;
  });
  try {
    await made.join(link.token, media.stream.value, () => (call.value = made));
  } catch (error) {
    problem.value = explain('You could not join the room', error);
  } finally {
    joining.value = false;
  }
}

export function App(): JSX.Element {
  useEffect(() => {
    void media.useDevices();
    const onHide = (): void => void call.value?.leave();
    addEventListener('pagehide', onHide);
    return () => removeEventListener('pagehide', onHide);
  }, []);
  const current = call.value;
  if (current !== null) {
    return <Room call={current} media={media} invite={inviteLink(location.href, link.token, current.room, current.live)} />;
  }
  return (
    <Lobby
      media={media}
      name={name.value}
      room={room.value}
      live={live.value}
      busy={joining.value}
      problem={problem.value}
      onName={(text) => (name.value = text)}
      onRoom={(text) => (room.value = text)}
      onLive={(wanted) => (live.value = wanted)}
      onJoin={() => void join()}
      onCloseProblem={() => (problem.value = null)}
    />
  );
}
