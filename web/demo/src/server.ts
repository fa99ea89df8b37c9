/** The one thing the page asks of the server by itself: a UserSig for its user. The key never comes here. */
import { PageError } from './problem';

export interface Admission {
  readonly sdkAppId: number;
  readonly userSig: string;
}

export async function admission(token: string, userId: string): Promise<Admission> {
  let answer: Response;
  try {
    answer = await fetch(new URL('usersig', location.href.replace(/#.*$/, '')), {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ token, userId }),
    });
  } catch {
    throw new PageError({
      title: 'The server does not answer',
      cause: 'It was stopped, or the network between here and there is down.',
      remedy: 'See whether `parlour demo` still runs, then try again.',
    });
  }
  if (answer.status === 403) throw new PageError(WRONG_LINK);
  if (!answer.ok) {
    throw new PageError({
      title: 'The server gave no signature for this user',
      cause: `It answered ${String(answer.status)}.`,
      remedy: 'The server’s log says why.',
    });
  }
  return (await answer.json()) as Admission;
}

export const WRONG_LINK = {
  title: 'This link is not valid',
  cause: 'Its token is missing, or is not the one of the server that runs now: each server makes its own.',
  remedy: 'Open the link that `parlour demo` printed last.',
};
