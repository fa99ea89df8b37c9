import { useComputed } from '@preact/signals';
import type { JSX } from 'preact';
import { useEffect, useRef } from 'preact/hooks';
import type { OwnMedia } from '../own-media';
import { Icon } from './icons';
import { Meter } from './meter';

/** What the others will see, with the two switches on it. */
export function Preview({ media, name }: { media: OwnMedia; name: string }): JSX.Element {
  const stage = useRef<HTMLDivElement>(null);
  const stream = media.stream.value;
  const audioTrack = useComputed(() => media.stream.value?.getAudioTrack() ?? null);
  useEffect(() => {
    if (stream === null || stage.current === null) return undefined;
    // The own picture is muted, so no browser forbids it.
    stream.play(stage.current, { objectFit: 'cover' }).catch(() => undefined);
    return () => {
      stream.stop();
    };
  }, [stream]);
  const pictured = media.hasVideo.value && media.videoOn.value;
  return (
    <div class="preview">
      <div class={`preview-picture${pictured ? ' pictured' : ''}`}>
        <div ref={stage} class="stage" />
        {!pictured && <p class="preview-word">{wordFor(media)}</p>}
        {stream !== null && (
          <div class="switches">
            <Switch on={media.audioOn.value} there={media.hasAudio.value} what="microphone" onClick={() => media.toggleAudio()} />
            <Switch on={media.videoOn.value} there={media.hasVideo.value} what="camera" onClick={() => media.toggleVideo()} />
          </div>
        )}
      </div>
      <Meter track={media.audioOn.value ? audioTrack.value : null} />
      <div class="sources">
        {media.source.value !== 'generated' && (
          <button type="button" class="quiet" onClick={() => void media.useGenerated(name)}>
            <Icon name="picture" />
            No camera? Use a generated picture
          </button>
        )}
        {(media.source.value !== 'devices' || media.asking.value === 'refused') && (
          <button type="button" class="quiet" onClick={() => void media.useDevices()}>
            <Icon name={media.source.value === 'devices' ? 'retry' : 'camera'} />
            {media.source.value === 'devices' ? 'Try again' : 'Use my camera and microphone'}
          </button>
        )}
      </div>
    </div>
  );
}

function wordFor(media: OwnMedia): string {
  if (media.asking.value === 'asking') return 'Allow the camera and the microphone when the browser asks';
  if (media.asking.value === 'refused') return 'You will watch and listen';
  return media.hasVideo.value ? 'Your camera is off' : 'No camera; the others will hear you';
}

interface SwitchProps {
  readonly on: boolean;
  readonly there: boolean;
  readonly what: 'microphone' | 'camera';
  readonly onClick: () => void;
  readonly keys?: string;
}

/** The button that mutes the microphone or the camera. */
export function Switch({ on, there, what, onClick, keys }: SwitchProps): JSX.Element {
  const live = on && there;
  const icon = what === 'microphone' ? (live ? 'microphone' : 'microphoneOff') : live ? 'camera' : 'cameraOff';
  const text = there ? `Turn your ${what} ${on ? 'off' : 'on'}` : `No ${what}`;
  return (
    <button
      type="button"
      class={`switch${live ? '' : ' off'}`}
      disabled={!there}
      aria-pressed={live}
      aria-label={text}
      title={keys === undefined ? text : `${text} (${keys})`}
      aria-keyshortcuts={keys}
      onClick={onClick}
    >
      <Icon name={icon} />
    </button>
  );
}
