import { expect, test } from 'vitest';
import { onlyCodec, repairSound } from '../src/media/codecs.js';

const codecs = [
  { mimeType: 'video/VP8' },
  { mimeType: 'video/rtx' },
  { mimeType: 'video/H264', sdpFmtpLine: 'packetization-mode=0;profile-level-id=42001f' },
  { mimeType: 'video/H264', sdpFmtpLine: 'packetization-mode=1;profile-level-id=42001f' },
  { mimeType: 'video/AV1' },
];

test('one codec is left, with its retransmissions', () => {
  expect(onlyCodec(codecs, 'vp8')).toEqual([codecs[0], codecs[1]]);
  expect(onlyCodec(codecs, 'h264')).toEqual([codecs[3], codecs[1]]);
});

test('a browser without the codec is left with nothing', () => {
  expect(onlyCodec([{ mimeType: 'video/VP8' }, { mimeType: 'video/rtx' }], 'h264')).toEqual([]);
});

const lines = (...text: string[]): string => text.map((line) => `${line}\r\n`).join('');

test('lost sound is asked for where the browser can, once and in its own section', () => {
  const session = lines('v=0', 'a=ice-lite');
  const sound = lines('m=audio 9 RTP 63 111', 'a=rtpmap:111 opus/48000/2', 'a=rtcp-fb:111 transport-cc', 'a=mid:0');
  const film = lines('m=video 9 RTP 96', 'a=rtpmap:96 VP8/90000', 'a=rtcp-fb:96 transport-cc', 'a=mid:1');
  const wanted = sound.replace('transport-cc\r\n', 'transport-cc\r\na=rtcp-fb:111 nack\r\n');
  expect(repairSound(session + sound + film + sound)).toBe(session + wanted + film + wanted);
  expect(repairSound(session + wanted + film)).toBe(session + wanted + film);
});

test('a browser that gives no feedback about each packet of sound offers what it offered', () => {
  const sound = lines('v=0', 'm=audio 9 RTP 109', 'a=rtpmap:109 opus/48000/2', 'a=mid:0');
  expect(repairSound(sound)).toBe(sound);
  expect(repairSound('')).toBe('');
});
