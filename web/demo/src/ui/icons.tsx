/** Line icons on a grid of 24, drawn for this page. */
import type { JSX } from 'preact';

const PATHS = {
  microphone: 'M12 3.5a3 3 0 0 1 3 3v5a3 3 0 0 1-6 0v-5a3 3 0 0 1 3-3zM5.5 11a6.5 6.5 0 0 0 13 0M12 17.5v3M8.5 20.5h7',
  microphoneOff:
    'M9 9v2.5a3 3 0 0 0 4.7 2.4M15 11V6.5a3 3 0 0 0-5.8-1M5.5 11a6.5 6.5 0 0 0 10 5.5M18.5 11c0 1-.2 2-.6 2.8M12 17.5v3M8.5 20.5h7M4 3.5l16 17',
  camera: 'M4.5 6.5h9a2 2 0 0 1 2 2v7a2 2 0 0 1-2 2h-9a2 2 0 0 1-2-2v-7a2 2 0 0 1 2-2zM15.5 11l6-3.5v9l-6-3.5',
  cameraOff:
    'M8.5 6.5h5a2 2 0 0 1 2 2v4.5M15 16.8a2 2 0 0 1-1.5.7h-9a2 2 0 0 1-2-2v-7a2 2 0 0 1 1.5-1.9M15.5 11l6-3.5v9l-4-2.3M4 3.5l16 17',
  leave: 'M13.5 4H7a2 2 0 0 0-2 2v12a2 2 0 0 0 2 2h6.5M10.5 12h10M17 8.5l3.5 3.5-3.5 3.5',
  link: 'M10 14a4 4 0 0 0 5.7 0l3.1-3.1a4 4 0 0 0-5.7-5.7L11.8 6.5M14 10a4 4 0 0 0-5.7 0l-3.1 3.1a4 4 0 0 0 5.7 5.7l1.3-1.3',
  done: 'M4.5 12.5l5 5 10-11',
  warning: 'M12 4l9 16H3zM12 10v4.5M12 17.3v.2',
  close: 'M6 6l12 12M18 6L6 18',
  picture: 'M5 20V11a7 7 0 0 1 14 0v9zM5 15h14M12 4v16',
  sound: 'M4 9.5v5h3.5L12 18.5v-13L7.5 9.5zM15.5 9a4 4 0 0 1 0 6M18 6.5a8 8 0 0 1 0 11',
  people: 'M9 11.5a3.5 3.5 0 1 0 0-7 3.5 3.5 0 0 0 0 7zM2.5 19.5a6.5 6.5 0 0 1 13 0M16 11.3a3.2 3.2 0 0 0 .5-6.2M18 14a6 6 0 0 1 3.5 5.5',
  screen: 'M3.5 5h17v11h-17zM9 20h6M12 16v4M12 13V8.5M9.5 10.5L12 8l2.5 2.5',
  devices: 'M4 7h9M17 7h3M4 17h3M11 17h9M15 5v4M9 15v4',
  stage: 'M4 19h16M7 19v-4h10v4M12 4a2.5 2.5 0 1 1 0 5 2.5 2.5 0 0 1 0-5zM8.5 15a3.5 3.5 0 0 1 7 0',
  retry: 'M19 12a7 7 0 1 1-2.2-5.1L19.5 9M19.5 4.5V9H15',
} as const;

export type IconName = keyof typeof PATHS;

export function Icon({ name }: { name: IconName }): JSX.Element {
  return (
    <svg class="icon" viewBox="0 0 24 24" aria-hidden="true">
      <path d={PATHS[name]} />
    </svg>
  );
}

/** The mark of Parlour: an arched door, and light behind it. */
export function Mark(): JSX.Element {
  return (
    <svg class="mark" viewBox="0 0 32 32" aria-hidden="true">
      <path class="mark-wall" d="M5 30V15a11 11 0 0 1 22 0v15z" />
      <path class="mark-light" d="M11 30V16a5 5 0 0 1 10 0v14z" />
      <circle class="mark-knob" cx="18.4" cy="22.5" r="1.1" />
    </svg>
  );
}
