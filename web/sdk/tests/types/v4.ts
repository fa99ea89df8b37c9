/**
 * The type gate, never run: our types beside the public declarations of v4, by name. What an app gets from us fits what it
 * would get from v4, what it may hand to v4 it may hand to us, and what one side has and the other has not is a list here.
 */
import type theirTRTC from 'trtc-js-sdk';
import type * as v4 from 'trtc-js-sdk';
import type ourTRTC from '../../src/index.js';
import type * as ours from '../../src/index.js';

type Same<A, B> = [A] extends [B] ? ([B] extends [A] ? true : { first: A; second: B }) : { first: A; second: B };
/** Compiles when its argument is `true`; else the compiler shows what it is. */
type Holds<T extends true> = T;
type Gets<Ours, Theirs> = Ours extends Theirs ? true : { ours: Ours; theirs: Theirs };
type Takes<Theirs, Ours> = Theirs extends Ours ? true : { theirs: Theirs; ours: Ours };

type Members<T> = keyof T;
/** Members that v4 has and that are not here yet. */
type MissingOf<Theirs, Ours> = Exclude<Members<Theirs>, Members<Ours>>;
/** Members of ours that v4 has not. */
type AddedTo<Theirs, Ours> = Exclude<Members<Ours>, Members<Theirs>>;

export type Missing = [
  Holds<Same<MissingOf<v4.Client, ours.Client>, never>>,
  Holds<Same<MissingOf<v4.ClientEventMap, ours.ClientEventMap>, never>>,
  Holds<Same<MissingOf<v4.LocalStream, ours.LocalStream>, never>>,
  Holds<Same<MissingOf<v4.RemoteStream, ours.RemoteStream>, never>>,
  Holds<Same<MissingOf<v4.StreamEventMap, ours.StreamEventMap>, never>>,
  Holds<Same<MissingOf<typeof theirTRTC, typeof ourTRTC>, never>>,
];

export type Added = [
  Holds<Same<AddedTo<v4.Client, ours.Client>, 'getUserId'>>,
  Holds<Same<AddedTo<v4.ClientEventMap, ours.ClientEventMap>, 'video-received'>>,
  Holds<Same<AddedTo<v4.LocalStream, ours.LocalStream>, 'getType'>>,
  Holds<Same<AddedTo<v4.RemoteStream, ours.RemoteStream>, never>>,
  Holds<Same<AddedTo<v4.ClientConfig, ours.ClientConfig>, 'videoCodec'>>,
  Holds<Same<AddedTo<v4.RtcError, ours.RtcError>, 'getExtraCode' | 'extraCode' | 'message_'>>,
  Holds<Same<AddedTo<typeof theirTRTC, typeof ourTRTC>, 'ErrorCode'>>,
];

/** What an app receives. */
export type Received = [
  Holds<Gets<ours.CheckResult, v4.CheckResult>>,
  Holds<Gets<ours.RemoteMutedState, v4.RemoteMutedState>>,
  Holds<Gets<ours.TransportStats, v4.TransportStats>>,
  Holds<Gets<ours.LocalAudioStatsMap, v4.LocalAudioStatsMap>>,
  Holds<Gets<ours.LocalVideoStatsMap, v4.LocalVideoStatsMap>>,
  Holds<Gets<ours.RemoteAudioStatsMap, v4.RemoteAudioStatsMap>>,
  Holds<Gets<ours.RemoteVideoStatsMap, v4.RemoteVideoStatsMap>>,
  Holds<Gets<ours.RemoteUserInfo, v4.RemoteUserInfo>>,
  Holds<Gets<ours.ConnectionState, v4.ConnectionState>>,
  Holds<Same<keyof ours.ClientEventMap['network-quality'], keyof v4.ClientEventMap['network-quality']>>,
  Holds<Gets<keyof v4.ClientEventMap['audio-volume'], keyof ours.ClientEventMap['audio-volume']>>,
  Holds<Gets<ours.ClientEventMap['client-banned'], v4.ClientEventMap['client-banned']>>,
  Holds<Gets<ours.ClientEventMap['connection-state-changed'], v4.ClientEventMap['connection-state-changed']>>,
  Holds<Gets<ours.StreamEventMap['connection-state-changed'], v4.StreamEventMap['connection-state-changed']>>,
  Holds<Gets<ours.StreamEventMap['player-state-changed'], v4.StreamEventMap['player-state-changed']>>,
  Holds<Gets<ours.ClientEventMap['sei-message'], v4.ClientEventMap['sei-message']>>,
  Holds<Gets<ours.StreamEventMap['device-auto-recovered'], v4.StreamEventMap['device-auto-recovered']>>,
  Holds<Gets<ours.RemoteStreamType, v4.RemoteStreamType>>,
];

/** What an app hands in. */
export type HandedIn = [
  Holds<Takes<v4.ClientConfig, ours.ClientConfig>>,
  Holds<Takes<v4.JoinOptions, ours.JoinOptions>>,
  Holds<Takes<v4.StreamConfig, ours.StreamConfig>>,
  Holds<Takes<v4.PlaybackOptions, ours.PlaybackOptions>>,
  Holds<Takes<v4.VideoProfile, ours.VideoProfile>>,
  Holds<Takes<v4.SmallStreamProfile, ours.SmallStreamProfile>>,
  Holds<Takes<v4.MixTranscodeConfig, ours.MixTranscodeConfig>>,
  Holds<Takes<v4.PublishCDNStreamOptions, ours.PublishCDNStreamOptions>>,
  Holds<Takes<Parameters<v4.Client['setProxyServer']>[0], Parameters<ours.Client['setProxyServer']>[0]>>,
];

/** The members that both have, each with what it takes and what it gives. */
type Shared<Theirs, Ours> = {
  [K in keyof Theirs & keyof Ours]: Theirs[K] extends (...given: infer G) => infer R
    ? Ours[K] extends (...given: infer H) => infer S
      ? [Takes<G, H>, Gets<Awaited<S>, Awaited<R>>] extends [true, true]
        ? true
        : { takes: Takes<G, H>; gives: Gets<Awaited<S>, Awaited<R>> }
      : false
    : true;
};
/** The members that do not fit. */
type Unfit<T> = keyof { [K in keyof T as T[K] extends true ? never : K]: T[K] };

/** Handlers of events are compared above, streams by their own lines below. */
type OfClient = Omit<Shared<v4.Client, ours.Client>, 'on' | 'off' | 'publish' | 'unpublish' | 'subscribe' | 'unsubscribe' | 'setRemoteVideoStreamType'>;

export type ByMember = [
  Holds<Same<Unfit<OfClient>, never>>,
  Holds<Same<Unfit<Omit<Shared<v4.LocalStream, ours.LocalStream>, 'on' | 'off'>>, never>>,
  Holds<Same<Unfit<Omit<Shared<v4.RemoteStream, ours.RemoteStream>, 'on' | 'off'>>, never>>,
];
