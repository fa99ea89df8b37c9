import TRTC, { type Client, type ClientConfig, type ClientEventMap } from '../src/index.js';

const EVENTS = [
  'stream-added',
  'stream-removed',
  'stream-updated',
  'stream-subscribed',
  'peer-join',
  'peer-leave',
  'mute-audio',
  'mute-video',
  'unmute-audio',
  'unmute-video',
  'client-banned',
  'connection-state-changed',
  'error',
] as const;

export interface Watched {
  client: Client;
  /** What it told so far, a line each. */
  seen: string[];
  /** Resolves when a line that begins so has been told. */
  heard: (line: string) => Promise<void>;
}

/** A client whose events are written down as lines, with a way to wait for one. */
export function watch(server: string, config: ClientConfig): Watched {
  const client = TRTC.createClient(config);
  client.setProxyServer(server);
  const seen: string[] = [];
  const waiting: { line: string; resolve: () => void }[] = [];
  for (const event of EVENTS) {
    client.on(event, (payload: ClientEventMap[keyof ClientEventMap]) => {
      const line = `${event} ${shown(payload)}`;
      seen.push(line);
      for (const one of waiting) if (line.startsWith(one.line)) one.resolve();
    });
  }
  const heard = (line: string): Promise<void> =>
    seen.some((one) => one.startsWith(line))
      ? Promise.resolve()
      : new Promise((resolve) => waiting.push({ line, resolve }));
  return { client, seen, heard };
}

function shown(payload: ClientEventMap[keyof ClientEventMap]): string {
  if ('stream' in payload) return payload.stream.getId();
  if ('userId' in payload) return payload.userId;
  if ('reason' in payload) return `${payload.reason}: ${payload.message}`;
  if ('result' in payload) return payload.result.map(({ userId, audioVolume }) => `${userId} ${audioVolume}`).join(' ');
  if ('state' in payload) return `${payload.prevState} ${payload.state}`;
  if ('uplinkRTT' in payload) return `${payload.uplinkNetworkQuality} ${payload.downlinkNetworkQuality}`;
  return `${payload.getCode().toString(16)} ${payload.extraCode}`;
}
