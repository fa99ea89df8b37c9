import type { JSX } from 'preact';
import { useEffect, useRef, useState } from 'preact/hooks';
import { watchSpeaking } from '../level';
import { hueOf, initialsOf } from '../names';
import type { AnyStream } from '../sdk';
import { Icon } from './icons';

interface TileProps {
  readonly name: string;
  readonly own?: boolean;
  /** A screen, which is shown whole. */
  readonly screen?: boolean;
  readonly stream: AnyStream | null;
  readonly change?: number;
  readonly audioMuted: boolean;
  readonly videoMuted: boolean;
  readonly onPlayFailed?: (error: unknown) => void;
}

/** One person: the picture, or the initials under an arch; the name; whether they are muted; whether they speak. */
export function Tile({ name, own = false, screen = false, stream, change = 0, audioMuted, videoMuted, onPlayFailed }: TileProps): JSX.Element {
  const stage = useRef<HTMLDivElement>(null);
  const [speaking, setSpeaking] = useState(false);
  useEffect(() => {
    const element = stage.current;
    if (stream === null || element === null) return undefined;
    stream.play(element, { objectFit: screen ? 'contain' : 'cover', ...(screen && { mirror: false }) }).catch((error: unknown) => onPlayFailed?.(error));
    return () => {
      stream.stop();
    };
  }, [stream]);
  useEffect(() => {
    const track = stream?.getAudioTrack();
    if (!track || audioMuted) return undefined;
    const stop = watchSpeaking(track, setSpeaking);
    return () => {
      stop();
      setSpeaking(false);
    };
  }, [stream, change, audioMuted]);
  const pictured = stream !== null && stream.hasVideo() && !videoMuted;
  const silent = stream === null || !stream.hasAudio() || audioMuted;
  const silence = silent && !screen ? 'muted' : '';
  const told = [own ? `${name}, you` : name, silence, pictured ? '' : 'no picture'].filter(Boolean).join(', ');
  return (
    <li class={`tile${screen ? ' screen' : ''}${speaking ? ' speaking' : ''}${pictured ? ' pictured' : ''}`} style={{ '--hue': String(hueOf(name)) }} aria-label={told}>
      <div class="arch" aria-hidden="true">
        <span>{initialsOf(name)}</span>
      </div>
      <div ref={stage} class="stage" />
      <p class="label">
        {screen ? <Icon name="screen" /> : silent && <Icon name="microphoneOff" />}
        <span class="label-name">{name}</span>
        {own && <span class="label-own">you</span>}
      </p>
    </li>
  );
}
