/** The SDK's API and the types that this page uses, in one place. */
import TRTC, { type Client, type LocalStream, type RemoteStream } from 'parlour-web';

export { TRTC };
export type { Client, LocalStream, RemoteStream };
export type AnyStream = LocalStream | RemoteStream;
