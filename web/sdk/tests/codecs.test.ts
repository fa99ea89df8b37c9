import { expect, test } from 'vitest';
import { onlyCodec } from '../src/media/codecs.js';

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
