/** What went wrong, told to a person: with the error catalogue for codes, in our own words for devices. */
import { ERRORS } from '../../sdk/src/generated/errors';

export interface Problem {
  readonly title: string;
  readonly cause: string;
  readonly remedy: string;
  /** The code and key as an application sees them, e.g. `0x4001 SIGNAL_CHANNEL_SETUP_FAILED`. */
  readonly code?: string;
  /** The account or room code behind it. */
  readonly behind?: string;
  /** The error's own text, which names the values. */
  readonly detail?: string;
}

/** A failure that the page itself found and can already tell. */
export class PageError extends Error {
  constructor(readonly problem: Problem) {
    super(problem.title);
  }
}

interface CodedError {
  readonly message: string;
  getCode(): number;
  getExtraCode?(): number;
}

function isCoded(error: unknown): error is CodedError {
  return typeof error === 'object' && error !== null && typeof (error as { getCode?: unknown }).getCode === 'function';
}

function named(code: number): string {
  const entry = ERRORS[code];
  return entry ? `${entry.shown} ${entry.key}` : String(code);
}

/** Tells an error of any origin. `title` says what the person wanted, e.g. "You could not join". */
export function explain(title: string, error: unknown): Problem {
  if (error instanceof PageError) return error.problem;
  if (isCoded(error)) {
    const code = error.getCode();
    const extra = error.getExtraCode?.() ?? 0;
    const entry = ERRORS[extra] ?? ERRORS[code];
    return {
      title,
      code: named(code),
      ...(extra !== 0 && { behind: named(extra) }),
      cause: entry?.cause ?? 'The server answered with a code that the catalogue does not hold.',
      remedy: entry?.remedy ?? 'Look at the text of the error, and at the server’s log.',
      detail: error.message,
    };
  }
  const detail = error instanceof Error ? error.message : String(error);
  return { title, cause: 'Something failed in this page.', remedy: 'Reload the page and try again.', detail };
}

/** Why there is no camera or microphone, by the name that browsers give to the failure. */
export function explainDevice(error: unknown): Problem {
  const name = (error as { name?: string } | null)?.name ?? '';
  const told = DEVICE_PROBLEMS[name];
  if (told) return told;
  const detail = error instanceof Error ? { detail: error.message } : {};
  return {
    title: 'The camera and the microphone cannot be used',
    cause: 'The browser gave a reason that this page does not know.',
    remedy: 'Try again, or go on with a generated picture.',
    ...detail,
  };
}

const REFUSED: Problem = {
  title: 'This page may not use your camera and microphone',
  cause: 'You, or a rule of this browser or computer, said no.',
  remedy: 'Open the page’s permissions from the icon beside the address, allow camera and microphone, then try again.',
};

const DEVICE_PROBLEMS: Readonly<Record<string, Problem>> = {
  NotAllowedError: REFUSED,
  SecurityError: REFUSED,
  NotFoundError: {
    title: 'No camera and no microphone were found',
    cause: 'Nothing is plugged in, or it is switched off.',
    remedy: 'Connect one and try again, or go on with a generated picture.',
  },
  NotReadableError: {
    title: 'The camera or the microphone is busy',
    cause: 'Another program holds it, or its driver refused.',
    remedy: 'Close other programs that make calls, then try again.',
  },
  AbortError: {
    title: 'The camera or the microphone stopped answering',
    cause: 'The device failed while it was being opened.',
    remedy: 'Unplug it, plug it in again and try again.',
  },
  OverconstrainedError: {
    title: 'The chosen device is gone',
    cause: 'It was unplugged after the list was made.',
    remedy: 'Choose another one from the list.',
  },
  InsecureContext: {
    title: 'This address may not use a camera or microphone',
    cause: 'Browsers allow them on https and on localhost only, and this page is on neither.',
    remedy: 'Open the page by https, or through localhost; or go on with a generated picture.',
  },
};
