import { expect, test } from 'vitest';
import TRTC from '../src/index.js';
import { asRtcError, ErrorCode, fromErrorBody, RtcError, rtcError } from '../src/errors.js';

test('the text names what happened, the nested code and the code', () => {
  const error = rtcError(ErrorCode.SIGNAL_CHANNEL_SETUP_FAILED, 'join failed: wrong key', { extraCode: 70009 });
  expect(error).toBeInstanceOf(Error);
  expect(error.message).toBe('join failed: wrong key (70009) <SIGNAL_CHANNEL_SETUP_FAILED 0x4001>');
  expect(error.message_).toBe(error.message);
  expect(error.name).toBe('RtcError');
  expect([error.getCode(), error.getExtraCode(), error.extraCode]).toEqual([0x4001, 70009, 70009]);
});

test('codes are written with four hex digits in capitals', () => {
  expect(rtcError(ErrorCode.API_CALL_TIMEOUT, 'late').message).toBe('late <API_CALL_TIMEOUT 0x404B>');
  expect(rtcError(ErrorCode.UNKNOWN, 'what').message).toBe('what <UNKNOWN 0xFFFF>');
});

test("a server's refusal keeps its words", () => {
  const message = 'join failed: no such app (-8) <SIGNAL_CHANNEL_SETUP_FAILED 0x4001>';
  const error = fromErrorBody({ code: 0x4001, key: 'SIGNAL_CHANNEL_SETUP_FAILED', message, extraCode: -8 });
  expect([error.getCode(), error.extraCode, error.message, error.name]).toEqual([0x4001, -8, message, 'RtcError']);
});

test('whatever is thrown becomes an RtcError once', () => {
  const error = new RtcError(0x1001, 'not now');
  expect(asRtcError(error)).toBe(error);
  expect(asRtcError(new TypeError('odd')).getCode()).toBe(0xffff);
});

test('both spellings of the misspelled keys are there', () => {
  expect(TRTC.ErrorCode.SIGNAL_CAHNNEL_SETUP_FAILED).toBe(TRTC.ErrorCode.SIGNAL_CHANNEL_SETUP_FAILED);
  expect(TRTC.ErrorCode.UNKOWN).toBe(0xffff);
});
