// Made from messages.py and words.py by python -m parlour.protocol.generate; do not edit.

export const PROTOCOL_VERSION = 1;
export const SIGNALING_PATH = "/v1/ws";
export const MAX_USER_ID_BYTES = 32;
export const MAX_ROOM_NUMBER = 4294967294;
export const MAX_ROOM_NAME_BYTES = 64;
export const ROOM_NAME_PUNCTUATION = " !#$%&()+-:;<=.>?@[]^_{}|~,";
export const ROOM_NAME_CHARACTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 !#$%&()+-:;<=.>?@[]^_{}|~,";

export type StreamType = "auxiliary" | "main";
export type Scene = "live" | "rtc";
export type Role = "anchor" | "audience";
export type Kind = "audio" | "video";
export type RemovalReason = "banned" | "kick" | "room-disband";
export type VideoType = "big" | "small";
export type ReceivedVideo = "big" | "none" | "small";

/** Why a request was refused. `extraCode` is the account or room code behind `code`, else 0. */
export interface ErrorBody {
  code: number;
  key: string;
  message: string;
  /** Default: 0. */
  extraCode?: number;
  /** Default: "RtcError". */
  name?: string;
}

/** One member of the room. */
export interface Member {
  userId: string;
  /** Default: "anchor". */
  role?: Role;
}

/** The room as it stands, in join order; without the receiver of it. */
export interface Snapshot {
  members: Member[];
  streams: StreamInfo[];
}

/** One published stream as others see it. `small`: its video is there as a small stream as well. */
export interface StreamInfo {
  userId: string;
  streamType: StreamType;
  streamId: string;
  audio: boolean;
  video: boolean;
  /** Default: false. */
  audioMuted?: boolean;
  /** Default: false. */
  videoMuted?: boolean;
  /** Default: false. */
  small?: boolean;
}

/** Prove who you are. First request on a socket, unless it resumes. */
export interface Login {
  type: "login";
  id: number;
  sdkAppId: number;
  userId: string;
  /** Default: "". */
  userSig?: string;
  /** Default: "". */
  sdkVersion?: string;
  accountType?: number | string | null;
}

/** Enter a room; made if it is missing. `roomId` is a number, or a text when `stringRoom` is true. */
export interface Enter {
  type: "enter";
  id: number;
  ticket: string;
  roomId: number | string;
  /** Default: false. */
  stringRoom?: boolean;
  /** Default: "rtc". */
  scene?: Scene;
  /** Default: "anchor". */
  role?: Role;
  /** Default: "". */
  privateMapKey?: string;
}

/**
 * Become an anchor or audience of a live room. Who becomes audience publishes nothing any more.
 * Where the app asks for a `privateMapKey`, it is looked at anew when somebody becomes an anchor.
 */
export interface SwitchRole {
  type: "switch-role";
  id: number;
  role: Role;
  /** Default: "". */
  privateMapKey?: string;
}

/** Take up a session again on a new socket. First request on that socket. */
export interface Resume {
  type: "resume";
  id: number;
  resumeToken: string;
}

/**
 * Publish a stream, or change a published one, with the uplink's SDP offer.
 * `audioMid` / `videoMid` name the m-lines of the offer that carry the stream's tracks. A video m-line may send up to three encodings of VP8 or H264 (`a=simulcast:send`, the biggest first); the last is the small stream.
 */
export interface Publish {
  type: "publish";
  id: number;
  sdp: string;
  /** Default: "main". */
  streamType?: StreamType;
  audioMid?: string | null;
  videoMid?: string | null;
  /** Default: false. */
  audioMuted?: boolean;
  /** Default: false. */
  videoMuted?: boolean;
  /** Default: false. */
  restart?: boolean;
}

/** Stop publishing a stream. The uplink's transport closes with its last stream. */
export interface Unpublish {
  type: "unpublish";
  id: number;
  /** Default: "main". */
  streamType?: StreamType;
}

/** Receive a stream's audio, video or both; repeated, it replaces what was asked before. */
export interface Subscribe {
  type: "subscribe";
  id: number;
  userId: string;
  /** Default: "main". */
  streamType?: StreamType;
  /** Default: true. */
  audio?: boolean;
  /** Default: true. */
  video?: boolean;
}

/** Stop receiving a stream. */
export interface Unsubscribe {
  type: "unsubscribe";
  id: number;
  userId: string;
  /** Default: "main". */
  streamType?: StreamType;
}

/**
 * Receive a stream's video as the big or the small stream, once it is subscribed to and as far as it is sent.
 * May come before `subscribe`, and stays until the stream is gone. Where the one is missing the other comes.
 */
export interface SetVideoType {
  type: "set-video-type";
  id: number;
  userId: string;
  videoType: VideoType;
  /** Default: "main". */
  streamType?: StreamType;
}

/**
 * Be told by `volumes` how loud everybody in the room is and who speaks, from now on.
 * `interval` are milliseconds; the next shorter one of 100, 200, 500, 1000 and 2000 is taken, or 100; 0: no more. Refused with -102019 to who may not receive audio.
 */
export interface WatchVolumes {
  type: "watch-volumes";
  id: number;
  /** Default: 2000. */
  interval?: number;
}

/** The client's SDP answer to the `downlink-offer` of the same revision. */
export interface DownlinkAnswer {
  type: "downlink-answer";
  id: number;
  revision: number;
  sdp: string;
}

/** The client's downlink failed: a fresh transport and a fresh full offer, please. */
export interface DownlinkRestart {
  type: "downlink-restart";
  id: number;
}

/**
 * The uplink goes on with new ICE credentials, because the client may be somewhere else by now: its new offer.
 * Of the same connection, made with `iceRestart`. Nothing is published anew, and nobody else is told of it.
 */
export interface UplinkIceRestart {
  type: "uplink-ice-restart";
  id: number;
  sdp: string;
}

/** The same for the downlink: a `downlink-offer` with new ICE credentials, please, for the connection there is. */
export interface DownlinkIceRestart {
  type: "downlink-ice-restart";
  id: number;
}

/** Set the mute state of a published stream's tracks; a field left out is not changed. */
export interface Mute {
  type: "mute";
  id: number;
  /** Default: "main". */
  streamType?: StreamType;
  audio?: boolean | null;
  video?: boolean | null;
}

/** Leave the room. The socket may log in again or be closed. */
export interface Leave {
  type: "leave";
  id: number;
}

/** The heartbeat: any request counts as one. */
export interface Ping {
  type: "ping";
  id: number;
}

/** `ticket` is what `enter` presents; `heartbeatInterval` in seconds. */
export interface LoginOk {
  ticket: string;
  ticketExpiresAt: number;
  serverVersion: string;
  heartbeatInterval: number;
  maxMessageBytes: number;
}

/** `resumeTimeout`: seconds for which a lost socket keeps its user. */
export interface EnterOk {
  sessionId: string;
  resumeToken: string;
  resumeTimeout: number;
  snapshot: Snapshot;
}

/**
 * The session goes on: what changed is the difference between `snapshot` and what the client knew.
 * `published` are the client's own streams that the server still holds, `subscriptions` what it still receives, `videoTypes` what it asked for with `set-video-type`, where that is not the big stream, `role` what it is.
 */
export interface ResumeOk {
  sessionId: string;
  resumeToken: string;
  resumeTimeout: number;
  snapshot: Snapshot;
  published: StreamInfo[];
  subscriptions: Subscription[];
  /** Default: []. */
  videoTypes?: WantedVideo[];
  /** Default: "anchor". */
  role?: Role;
}

/** What one client receives of one stream. */
export interface Subscription {
  userId: string;
  streamType: StreamType;
  audio: boolean;
  video: boolean;
}

/** As what one client wants the video of one stream. */
export interface WantedVideo {
  userId: string;
  streamType: StreamType;
  videoType: VideoType;
}

/** The SDP answer for the uplink and the id that others see for the stream. */
export interface PublishOk {
  sdp: string;
  streamId: string;
}

/** The SDP answer with the server's new credentials. */
export interface UplinkIceRestartOk {
  sdp: string;
}

/** Accepted; the tracks come with the `downlink-offer` of at least this revision. */
export interface SubscribeOk {
  revision: number;
}

/** How often, in milliseconds; 0: not any more. */
export interface WatchVolumesOk {
  interval: number;
}

/** Done; nothing more to say. */
export type Empty = Record<string, never>;

/** A request was carried out. */
export interface OkAnswer<Ok = unknown> {
  id: number;
  ok: Ok;
}

/** A request was refused. `id` is null for a message whose id could not be read. */
export interface ErrorAnswer {
  id: number | null;
  error: ErrorBody;
}

/** A user entered the room. */
export interface PeerJoin {
  type: "peer-join";
  userId: string;
  /** Default: "anchor". */
  role?: Role;
}

/** A user left the room; after `stream-removed` for each of the user's streams. */
export interface PeerLeave {
  type: "peer-leave";
  userId: string;
}

/** A stream was published. */
export interface StreamAdded {
  type: "stream-added";
  stream: StreamInfo;
}

/** Tracks or the small stream were added to a stream or removed from it. */
export interface StreamUpdated {
  type: "stream-updated";
  stream: StreamInfo;
}

/** A stream is no longer published. */
export interface StreamRemoved {
  type: "stream-removed";
  userId: string;
  streamType: StreamType;
  streamId: string;
}

/** A published stream's mute state; both fields are the state as it is now. */
export interface MuteChanged {
  type: "mute-changed";
  userId: string;
  streamType: StreamType;
  audioMuted: boolean;
  videoMuted: boolean;
}

/** Which remote track an m-line of the downlink carries. */
export interface DownlinkTrack {
  mid: string;
  userId: string;
  streamType: StreamType;
  kind: Kind;
}

/**
 * The server's SDP offer for the downlink. At most one is unanswered at a time.
 * `restart` asks for a new peer connection. `tracks` are all m-lines in use.
 */
export interface DownlinkOffer {
  type: "downlink-offer";
  revision: number;
  sdp: string;
  tracks: DownlinkTrack[];
  /** Default: false. */
  restart?: boolean;
}

/**
 * Which of a stream's videos is sent to this client now, and why. Before the first it is the big one.
 * `none`: the path to this client carries none of them, or its user is not among those who spoke last where the server sends no more. `reason` is for people: "asked for", or what is in the way of that, with the rates where it is the path.
 */
export interface VideoReceived {
  type: "video-received";
  userId: string;
  streamType: StreamType;
  videoType: ReceivedVideo;
  reason: string;
}

/** How loud a stream's sound is: 0 (silence, or muted) to 100, linear in decibels; a voice begins at about 10. */
export interface Volume {
  userId: string;
  volume: number;
  /** Default: "main". */
  streamType?: StreamType;
}

/**
 * What changed of how loud everybody is, the receiver too, and who speaks, for who asked by `watch-volumes`.
 * Who is not named is as loud as before; with `whole`, silent. At most 16 are named, those that changed most. `speakers` are up to 8 who speak, first who has the floor, then who began last; null: the same as before.
 */
export interface Volumes {
  type: "volumes";
  volumes: Volume[];
  speakers?: string[] | null;
  /** Default: false. */
  whole?: boolean;
}

/**
 * Which encodings of the client's own video are taken, by their rids: the others need not be sent.
 * Told for a video of several encodings only, and all are wanted until it is. What is taken again is told at once, what nobody takes any more after some seconds. A client may send them all the same.
 */
export interface EncodingsWanted {
  type: "encodings-wanted";
  streamType: StreamType;
  rids: string[];
}

/**
 * How good this client's two links are, every two seconds while it has one of them.
 * `uplinkQuality` and `downlinkQuality`: 1 excellent, 2 good, 3 fair, 4 poor, 5 very poor, 6 disconnected, 0 not yet known: the worse of round trip (below 100, 200, 350, 600 ms) and loss (below 1, 3, 7, 15 %). Round trips are in milliseconds, losses in percent of the packets; 0 while not known.
 */
export interface NetworkQuality {
  type: "network-quality";
  uplinkQuality: number;
  downlinkQuality: number;
  /** Default: 0. */
  uplinkRtt?: number;
  /** Default: 0. */
  uplinkLoss?: number;
  /** Default: 0. */
  downlinkRtt?: number;
  /** Default: 0. */
  downlinkLoss?: number;
}

/**
 * The client's uplink leaves the server's checks unanswered, or its socket came back from another address.
 * The client is to send `uplink-ice-restart`. For the downlink the server just offers new credentials.
 */
export interface IceRestartWanted {
  type: "ice-restart-wanted";
  reason: "moved" | "silent";
}

/** A transport of this client is dead, with the core's reason; the client makes a new one. */
export interface MediaFailed {
  type: "media-failed";
  link: "downlink" | "uplink";
  reason: string;
}

/** The client was removed from the room; the socket closes with 4409 next. */
export interface ClientBanned {
  type: "client-banned";
  reason: RemovalReason;
  message: string;
}

/** The server is going down in good order; the socket closes with 1012 next. */
export interface ServerStopping {
  type: "server-stopping";
  message: string;
}

export type AnyRequest =
  | Login
  | Enter
  | Resume
  | Publish
  | Unpublish
  | Subscribe
  | Unsubscribe
  | SetVideoType
  | WatchVolumes
  | DownlinkAnswer
  | DownlinkRestart
  | UplinkIceRestart
  | DownlinkIceRestart
  | Mute
  | SwitchRole
  | Leave
  | Ping
;

export type AnyEvent =
  | PeerJoin
  | PeerLeave
  | StreamAdded
  | StreamUpdated
  | StreamRemoved
  | MuteChanged
  | DownlinkOffer
  | VideoReceived
  | Volumes
  | EncodingsWanted
  | NetworkQuality
  | IceRestartWanted
  | MediaFailed
  | ClientBanned
  | ServerStopping
;

/** What the `ok` of each request's answer holds. */
export interface Answers {
  "login": LoginOk;
  "enter": EnterOk;
  "resume": ResumeOk;
  "publish": PublishOk;
  "unpublish": Empty;
  "subscribe": SubscribeOk;
  "unsubscribe": Empty;
  "set-video-type": Empty;
  "watch-volumes": WatchVolumesOk;
  "downlink-answer": Empty;
  "downlink-restart": Empty;
  "uplink-ice-restart": UplinkIceRestartOk;
  "downlink-ice-restart": SubscribeOk;
  "mute": Empty;
  "switch-role": Empty;
  "leave": Empty;
  "ping": Empty;
}

/** Why the server closed a socket (RFC 6455 §7.4); those of 44xx are ours. */
export const CloseCode = {
  /** A session was taken up again on another socket. */
  GOING_AWAY: 1001,
  /** A message was longer than `maxMessageBytes`. */
  TOO_BIG: 1009,
  /** The server goes down; come back in a moment. */
  SERVER_STOPPING: 1012,
  /** A message was not a JSON object with an `id`, or was binary. */
  MALFORMED: 4400,
  /** No login, or no sign of life, in time. */
  TIMED_OUT: 4408,
  /** The session was replaced or removed from its room; do not resume. */
  REMOVED: 4409,
  /** Messages came faster than allowed, or were not read as fast as they were sent. */
  TOO_MANY: 4429,
} as const;
export type CloseCode = (typeof CloseCode)[keyof typeof CloseCode];

/** How a client closes a socket: the server lets a user who left go, and keeps any other for a while. */
export const ClientCloseCode = {
  /** The user leaves. */
  LEFT: 1000,
  /** The same, as a browser says it when the page goes. */
  PAGE_GONE: 1001,
  /** The socket is given up, not the session: no sign of life, or no answer in time. */
  GIVEN_UP: 4408,
  /** A fault of the client; it does not come back. */
  FAULT: 4500,
} as const;
export type ClientCloseCode = (typeof ClientCloseCode)[keyof typeof ClientCloseCode];
