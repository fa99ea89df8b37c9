import type { Kind } from './generated/messages.js';

export type { Kind };

/** What a stream may have one track of each. */
export const KINDS: readonly Kind[] = ['audio', 'video'];
