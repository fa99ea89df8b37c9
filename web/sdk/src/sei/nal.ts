/** Messages in the frames of H.264 (ITU-T H.264 Annex B and D): supplemental enhancement information, before the picture. */

/** What an app sends with a frame. */
export interface SeiMessage {
  type: number;
  data: Uint8Array;
}

const SEI = 6;
/** Slices of a picture: what is told of it comes before. */
const isSlice = (unit: number): boolean => unit >= 1 && unit <= 5;
/** Messages of one frame that are taken in. */
const MOST_OF_A_FRAME = 64;

/** The beginnings of the units of a frame, each behind its start code, and where that begins. */
function* units(frame: Uint8Array): Generator<{ code: number; begin: number }> {
  for (let at = 0; at + 3 < frame.length; at += 1) {
    if (frame[at] !== 0 || frame[at + 1] !== 0 || frame[at + 2] !== 1) continue;
    // The start code of the first unit has a zero more.
    yield { code: at > 0 && frame[at - 1] === 0 ? at - 1 : at, begin: at + 3 };
    at += 3;
  }
}

/** Whether these are the units of a frame, as browsers have them of H.264. */
export function isAnnexB(frame: Uint8Array): boolean {
  const [zero, nought, one, other] = frame;
  return zero === 0 && nought === 0 && (one === 1 || (one === 0 && other === 1));
}

/** The frame with these messages in front of its picture; the frame itself if it has none. */
export function withMessages(frame: Uint8Array, messages: readonly SeiMessage[]): Uint8Array {
  if (messages.length === 0) return frame;
  for (const { code, begin } of units(frame)) {
    if (!isSlice((frame[begin] ?? 0) & 0x1f)) continue;
    const unit = unitOf(messages);
    const whole = new Uint8Array(frame.length + unit.length);
    whole.set(frame.subarray(0, code));
    whole.set(unit, code);
    whole.set(frame.subarray(code), code + unit.length);
    return whole;
  }
  return frame;
}

/** The messages of these types in a frame, as far as they are whole. */
export function messagesIn(frame: Uint8Array, types: readonly number[]): SeiMessage[] {
  const found: SeiMessage[] = [];
  let open: number | null = null;
  for (const { code, begin } of units(frame)) {
    if (open !== null) read(frame.subarray(open, code), types, found);
    const unit = (frame[begin] ?? 0) & 0x1f;
    if (isSlice(unit)) return found;
    open = unit === SEI ? begin + 1 : null;
  }
  if (open !== null) read(frame.subarray(open), types, found);
  return found;
}

function unitOf(messages: readonly SeiMessage[]): Uint8Array {
  const plain: number[] = [];
  for (const { type, data } of messages) {
    for (const number of [type, data.length]) {
      for (let rest = number; ; rest -= 255) {
        plain.push(Math.min(rest, 255));
        if (rest < 255) break;
      }
    }
    for (const byte of data) plain.push(byte);
  }
  const out = [0, 0, 0, 1, SEI];
  let zeros = 0;
  // The end bit keeps the last byte from being a zero.
  for (const byte of [...plain, 0x80]) {
    if (zeros === 2 && byte <= 3) {
      out.push(3);
      zeros = 0;
    }
    out.push(byte);
    zeros = byte === 0 ? zeros + 1 : 0;
  }
  return Uint8Array.from(out);
}

/** Without the bytes that keep start codes out of it. */
function unescaped(unit: Uint8Array): Uint8Array {
  const plain = new Uint8Array(unit.length);
  let length = 0;
  let zeros = 0;
  for (const byte of unit) {
    if (zeros === 2 && byte === 3) {
      zeros = 0;
      continue;
    }
    plain[length++] = byte;
    zeros = byte === 0 ? zeros + 1 : 0;
  }
  return plain.subarray(0, length);
}

function read(unit: Uint8Array, types: readonly number[], found: SeiMessage[]): void {
  const plain = unescaped(unit);
  let at = 0;
  const number = (): number => {
    let value = 0;
    for (; plain[at] === 255; at += 1) value += 255;
    return value + (plain[at++] ?? 0);
  };
  // The end bit has a byte of its own.
  while (at + 2 < plain.length && found.length < MOST_OF_A_FRAME) {
    const type = number();
    const size = number();
    if (at + size > plain.length) return;
    if (types.includes(type)) found.push({ type, data: plain.slice(at, at + size) });
    at += size;
  }
}
