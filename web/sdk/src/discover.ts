import { ErrorCode, invalidParameter, rtcError } from './errors.js';
import { PROTOCOL_VERSION, SIGNALING_PATH } from './generated/messages.js';
import type { ProxyServer } from './types.js';

/** Where an address may come from, in the order in which it is looked for. */
export interface Places {
  /** What `client.setProxyServer()` was given. */
  proxy?: string | undefined;
  /** The global `PARLOUR_SERVER`. */
  setting?: unknown;
  /** The address of the script that this SDK is in. */
  script?: string | undefined;
  /** The address of the page. */
  page?: string | undefined;
}

const SCHEMES: Readonly<Record<string, string>> = { 'http:': 'ws:', 'https:': 'wss:', 'ws:': 'ws:', 'wss:': 'wss:' };

/** The signaling address `ws(s)://host[:port][/path]/v1/ws?v=1` of a server, or null for what is none. */
export function signalingUrl(server: string): string | null {
  let url: URL;
  try {
    url = new URL(server);
  } catch {
    return null;
  }
  const scheme = SCHEMES[url.protocol];
  if (!scheme || !url.host) return null;
  return `${scheme}//${url.host}${url.pathname.replace(/\/+$/, '')}${SIGNALING_PATH}?v=${PROTOCOL_VERSION}`;
}

/** Only what can serve: a page may come from `file:`, a bundler may bake a path of its own machine in. */
function origin(address: string | undefined): string | null {
  return address && /^https?:/.test(address) ? signalingUrl(new URL(address).origin) : null;
}

/** The signaling address of the server, from the first place that names one. */
export function findServer(places: Places): string {
  if (places.proxy !== undefined) return checkedServer(places.proxy, 'the server of setProxyServer()');
  if (places.setting !== undefined && places.setting !== null) {
    return checkedServer(places.setting, 'the global PARLOUR_SERVER');
  }
  const found = origin(places.script) ?? origin(places.page);
  if (found) return found;
  throw rtcError(
    ErrorCode.SIGNAL_CHANNEL_ERROR,
    'join failed: no server is known; call client.setProxyServer() or set PARLOUR_SERVER to its address',
  );
}

/** The server that `setProxyServer()` was given, checked; undefined for an object without one. */
export function proxyServer(asked: unknown): string | undefined {
  if (typeof asked === 'string') return validServer(asked);
  if (typeof asked !== 'object' || asked === null) {
    throw invalidParameter('setProxyServer: expected an address or an object of addresses');
  }
  const { websocketProxy, unifiedProxy, scheduleProxy } = asked as ProxyServer;
  const first = [websocketProxy, unifiedProxy, scheduleProxy].find((one) => one !== undefined);
  return first === undefined ? undefined : validServer(first);
}

function validServer(server: unknown): string {
  checkedServer(server, 'setProxyServer: the server');
  return server as string;
}

function checkedServer(server: unknown, what: string): string {
  const url = typeof server === 'string' ? signalingUrl(server) : null;
  if (url) return url;
  throw invalidParameter(`${what} must be an address with http, https, ws or wss, not ${JSON.stringify(server)}`);
}

/** The places of this page. `script` is found when the module is loaded, for later it cannot be known. */
export function placesHere(proxy: string | undefined): Places {
  return {
    proxy,
    setting: (globalThis as { PARLOUR_SERVER?: unknown }).PARLOUR_SERVER,
    script: SCRIPT,
    page: typeof location === 'undefined' ? undefined : location.href,
  };
}

const SCRIPT = ((): string | undefined => {
  // A classic script knows itself as currentScript, a module as import.meta.
  const current = typeof document === 'undefined' ? null : document.currentScript;
  if (current && 'src' in current && current.src) return current.src;
  return (import.meta as { url?: string }).url;
})();
