import { ERROR_KEYS, ErrorCode } from './generated/errors.js';
import type { ErrorBody } from './generated/messages.js';
import type * as api from './types.js';

export { ErrorCode };

interface Parts {
  extraCode?: number;
  name?: string;
}

/** What every refusal and failure of the SDK is: a sentence with its code, in the v4 form. */
export class RtcError extends Error implements api.RtcError {
  /** The account or room code behind `code`, else 0. */
  readonly extraCode: number;
  private readonly code: number;

  constructor(code: number, message: string, { extraCode = 0, name = 'RtcError' }: Parts = {}) {
    super(message);
    this.name = name;
    this.code = code;
    this.extraCode = extraCode;
  }

  /** The code of the catalogue, for example 0x4001. */
  getCode(): number {
    return this.code;
  }

  /** The account or room code behind `getCode()`, or 0. */
  getExtraCode(): number {
    return this.extraCode;
  }

  /** The same text; v4 apps read this member too. */
  get message_(): string {
    return this.message;
  }
}

/** An error with the text `<detail> (<extra code>) <KEY 0xCODE>`. */
export function rtcError(code: number, detail: string, parts: Parts = {}): RtcError {
  const nested = parts.extraCode ? ` (${parts.extraCode})` : '';
  const key = ERROR_KEYS[code] ?? 'UNKNOWN';
  const shown = `0x${code.toString(16).toUpperCase().padStart(4, '0')}`;
  return new RtcError(code, `${detail}${nested} <${key} ${shown}>`, parts);
}

/** A refusal as the server words it. */
export function fromErrorBody(body: ErrorBody): RtcError {
  return new RtcError(body.code, body.message, { extraCode: body.extraCode ?? 0, name: body.name ?? 'RtcError' });
}

export function invalidParameter(detail: string): RtcError {
  return rtcError(ErrorCode.INVALID_PARAMETER, detail);
}

export function invalidOperation(detail: string): RtcError {
  return rtcError(ErrorCode.INVALID_OPERATION, detail);
}

/** Whatever was thrown, as an RtcError. */
export function asRtcError(thrown: unknown): RtcError {
  if (thrown instanceof RtcError) return thrown;
  return rtcError(ErrorCode.UNKNOWN, describe(thrown));
}

export function describe(thrown: unknown): string {
  return thrown instanceof Error ? thrown.message || thrown.name : String(thrown);
}
