import { expect, test } from 'vitest';
import { findServer, proxyServer, signalingUrl } from '../src/discover.js';
import { RtcError } from '../src/errors.js';
import { thrownBy } from './helpers.js';

test.each([
  ['http://example.org', 'ws://example.org/v1/ws?v=1'],
  ['https://example.org', 'wss://example.org/v1/ws?v=1'],
  ['ws://127.0.0.1:8080', 'ws://127.0.0.1:8080/v1/ws?v=1'],
  ['wss://example.org:443', 'wss://example.org/v1/ws?v=1'],
  ['https://example.org/calls/', 'wss://example.org/calls/v1/ws?v=1'],
  ['http://[::1]:8080', 'ws://[::1]:8080/v1/ws?v=1'],
])('%s is served at %s', (server, url) => {
  expect(signalingUrl(server)).toBe(url);
});

test.each(['', 'example.org', 'ftp://example.org', 'localhost:8080', '//example.org'])('%j is not a server', (server) => {
  expect(signalingUrl(server)).toBeNull();
});

const places = {
  proxy: 'wss://proxy.example',
  setting: 'https://setting.example',
  script: 'https://script.example/sdk/trtc.js?x=1',
  page: 'https://page.example/room/7#top',
};

test('the first place that names a server wins', () => {
  expect(findServer(places)).toBe('wss://proxy.example/v1/ws?v=1');
  expect(findServer({ ...places, proxy: undefined })).toBe('wss://setting.example/v1/ws?v=1');
  expect(findServer({ script: places.script, page: places.page })).toBe('wss://script.example/v1/ws?v=1');
  expect(findServer({ page: places.page })).toBe('wss://page.example/v1/ws?v=1');
});

test('an address that can serve nobody is passed over', () => {
  expect(findServer({ script: 'file:///home/app/bundle.js', page: places.page })).toBe('wss://page.example/v1/ws?v=1');
});

test('no server at all, and a setting that is none, are said so', () => {
  const nowhere = thrownBy(() => findServer({ page: 'file:///home/index.html' }));
  expect((nowhere as RtcError).getCode()).toBe(0x4002);
  expect((nowhere as RtcError).message).toContain('PARLOUR_SERVER');
  expect((thrownBy(() => findServer({ setting: 42 })) as RtcError).getCode()).toBe(0x1000);
});

test('setProxyServer takes a text or an object, and refuses the rest', () => {
  expect(proxyServer('wss://one.example')).toBe('wss://one.example');
  expect(proxyServer({ websocketProxy: 'wss://one.example', unifiedProxy: 'wss://two.example' })).toBe('wss://one.example');
  expect(proxyServer({ unifiedProxy: 'https://two.example' })).toBe('https://two.example');
  expect(proxyServer({ loggerProxy: 'https://logs.example' })).toBeUndefined();
  for (const wrong of ['example.org', 7, null, { websocketProxy: 'example.org' }]) {
    expect((thrownBy(() => proxyServer(wrong)) as RtcError).getCode()).toBe(0x1000);
  }
});
