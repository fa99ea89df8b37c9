import type { JSX } from 'preact';
import type { OwnMedia } from '../own-media';
import type { Problem } from '../problem';
import { Icon, Mark } from './icons';
import { Preview } from './preview';
import { ProblemCard } from './problem-card';

interface LobbyProps {
  readonly media: OwnMedia;
  readonly name: string;
  readonly room: string;
  readonly live: boolean;
  readonly busy: boolean;
  readonly problem: Problem | null;
  readonly onName: (name: string) => void;
  readonly onRoom: (room: string) => void;
  readonly onLive: (live: boolean) => void;
  readonly onJoin: () => void;
  readonly onCloseProblem: () => void;
}

/** Where a person says who they are and sees what the others will see, before going in. */
export function Lobby({ media, name, room, live, busy, problem, onName, onRoom, onLive, onJoin, onCloseProblem }: LobbyProps): JSX.Element {
  const ready = name.trim() !== '' && room.trim() !== '' && media.asking.value !== 'asking' && !busy;
  const submit = (event: Event): void => {
    event.preventDefault();
    if (ready) onJoin();
  };
  return (
    <main class="lobby">
      <header class="lobby-head">
        <Mark />
        <h1>Parlour</h1>
        <p>A room to talk in.</p>
      </header>
      {problem !== null && <ProblemCard problem={problem} onClose={onCloseProblem} />}
      <div class="lobby-card">
        <Preview media={media} name={name} />
        <form class="lobby-form" onSubmit={submit}>
          <label class="field">
            Your name
            <input
              name="name"
              value={name}
              maxLength={24}
              autocomplete="nickname"
              placeholder="How the others will see you"
              required
              autofocus={name === ''}
              onInput={(event) => onName(event.currentTarget.value)}
            />
          </label>
          <label class="field">
            Room
            <input name="room" value={room} maxLength={32} autocomplete="off" required onInput={(event) => onRoom(event.currentTarget.value)} />
          </label>
          <label class="choice">
            <input type="checkbox" checked={live} onChange={(event) => onLive(event.currentTarget.checked)} />
            <span>A broadcast: I look on, unseen, until I go on the stage</span>
          </label>
          <DevicePickers media={media} />
          {media.problem.value !== null && <DeviceProblem problem={media.problem.value} />}
          <button type="submit" class="primary" disabled={!ready}>
            {busy ? 'Opening the door …' : media.asking.value === 'refused' ? 'Go in to watch and listen' : 'Go in'}
          </button>
        </form>
      </div>
    </main>
  );
}

/** Which camera and microphone, where there is something to choose. */
export function DevicePickers({ media }: { media: OwnMedia }): JSX.Element | null {
  if (media.source.value !== 'devices' || media.asking.value !== 'ready') return null;
  return (
    <>
      <Picker label="Camera" devices={media.cameras.value} chosen={media.cameraId.value} onChoose={(id) => void media.chooseCamera(id)} />
      <Picker
        label="Microphone"
        devices={media.microphones.value}
        chosen={media.microphoneId.value}
        onChoose={(id) => void media.chooseMicrophone(id)}
      />
    </>
  );
}

function DeviceProblem({ problem }: { problem: Problem }): JSX.Element {
  return (
    <div class="device-problem" role="status">
      <h2>
        <Icon name="warning" />
        {problem.title}
      </h2>
      <p>{problem.cause}</p>
      <p>{problem.remedy}</p>
      {problem.detail !== undefined && <p class="problem-detail">{problem.detail}</p>}
    </div>
  );
}

interface PickerProps {
  readonly label: string;
  readonly devices: readonly MediaDeviceInfo[];
  readonly chosen: string;
  readonly onChoose: (id: string) => void;
}

function Picker({ label, devices, chosen, onChoose }: PickerProps): JSX.Element {
  return (
    <label class="field">
      {label}
      <select value={chosen} disabled={devices.length === 0} onChange={(event) => onChoose(event.currentTarget.value)}>
        {devices.length === 0 && <option value="">None found</option>}
        {devices.map((device, at) => (
          <option key={device.deviceId} value={device.deviceId}>
            {device.label || `${label} ${String(at + 1)}`}
          </option>
        ))}
      </select>
    </label>
  );
}
