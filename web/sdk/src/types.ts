/** Everything that an app sees, as `index.d.ts` tells it. The classes behind it implement these. */

export type Role = 'anchor' | 'audience';
export type RemoteStreamType = 'main' | 'auxiliary';
export type VideoType = 'big' | 'small';
export type ConnectionState = 'DISCONNECTED' | 'CONNECTING' | 'RECONNECTING' | 'CONNECTED';

/** What `createClient` takes. */
export interface ClientConfig {
  sdkAppId: number;
  userId: string;
  /** The user's signature, made by your own server. */
  userSig: string;
  /** `'rtc'` is a call, in which everybody may publish. `'live'` has anchors, who do, and an audience that nobody sees. */
  mode?: 'rtc' | 'live';
  /** Rooms are texts instead of numbers; the two kinds never meet. */
  useStringRoomId?: boolean;
  /** Receive every stream without asking for it. Default true. */
  autoSubscribe?: boolean;
  /** Ask for a click when the browser forbids sound without one. Default true. */
  enableAutoPlayDialog?: boolean;
  streamId?: string;
  userDefineRecordId?: string;
  pureAudioPushMode?: 1 | 2;
  /** Send and receive messages with frames (`sendSEIMessage`); video is sent as H264 then. */
  enableSEI?: boolean;
  /** Ours: publish video with this codec only, instead of the browser's first choice. */
  videoCodec?: 'h264' | 'vp8' | 'vp9' | 'av1';
}

/** What `client.join` takes. */
export interface JoinOptions {
  roomId: number | string;
  /** In `live` mode; default `audience`. */
  role?: Role;
  privateMapKey?: string;
}

/** What `createStream` takes. */
export interface StreamConfig {
  userId?: string;
  /** Capture the microphone. */
  audio?: boolean;
  /** Capture a camera. */
  video?: boolean;
  /** A track of your own instead of the microphone. */
  audioSource?: MediaStreamTrack;
  /** A track of your own instead of a camera. */
  videoSource?: MediaStreamTrack;
  microphoneId?: string;
  cameraId?: string;
  facingMode?: 'user' | 'environment';
  /** Capture a screen, a window or a tab. */
  screen?: boolean;
  /** Capture the sound of what is shared. */
  screenAudio?: boolean;
  /** Show the own picture as a mirror does. Default true for a camera. */
  mirror?: boolean;
}

/** How a stream is played. */
export interface PlaybackOptions {
  objectFit?: 'contain' | 'cover' | 'fill' | 'none' | 'scale-down';
  /** Without sound. Default true for a local stream, false for a remote one. */
  muted?: boolean;
  mirror?: boolean;
}

/** What a remote user's main stream has, and what of it is muted. */
export interface RemoteMutedState {
  userId: string;
  hasAudio: boolean;
  hasVideo: boolean;
  /** Whether the video can be received as a small stream, too. */
  hasSmall: boolean;
  audioMuted: boolean;
  videoMuted: boolean;
}

export interface RemoteStreamInfo {
  stream: RemoteStream;
}

export interface RemoteUserInfo {
  userId: string;
}

/** Which of a remote stream's videos comes now, and why. */
export interface VideoReceivedInfo {
  userId: string;
  streamType: RemoteStreamType;
  /** `none`: the network carries none of them; the picture comes back when it does. */
  videoType: VideoType | 'none';
  /** In words: `asked for`, or what is in the way of that: `the path carries 310 of 900 kbit/s`. */
  reason: string;
}

/** How loud everybody is. */
export interface AudioVolumeInfo {
  /** Every stream with sound, the own ones too, the loudest first. */
  result: {
    userId: string;
    /** 0 (silence, or muted) to 100; a voice begins at about 10. */
    audioVolume: number;
    stream: LocalStream | RemoteStream;
  }[];
  /** Ours: who speaks now, first who has the floor. */
  speakers: string[];
}

export interface ConnectionStateChange {
  prevState: ConnectionState;
  state: ConnectionState;
}

export interface ClientBannedInfo {
  /** `kick`: the same user entered again. `banned`: removed by an administrator. `room-disband`: the room is gone. */
  reason: 'kick' | 'banned' | 'room-disband';
  message: string;
  /** 0x4040, which is all that apps of before 4.14 look at. */
  getCode(): number;
}

/**
 * How good the two links to the server are. Qualities: 1 excellent, 2 good, 3 fair, 4 poor, 5 very poor, 6 disconnected,
 * 0 not yet known. Round trips are in milliseconds, losses in percent of the packets.
 */
export interface NetworkQualityInfo {
  uplinkNetworkQuality: number;
  downlinkNetworkQuality: number;
  uplinkRTT: number;
  uplinkLoss: number;
  downlinkRTT: number;
  downlinkLoss: number;
}

/** The events of a client and what their handlers get. */
export interface ClientEventMap {
  'stream-added': RemoteStreamInfo;
  'stream-removed': RemoteStreamInfo;
  'stream-updated': RemoteStreamInfo;
  'stream-subscribed': RemoteStreamInfo;
  'peer-join': RemoteUserInfo;
  'peer-leave': RemoteUserInfo;
  'mute-audio': RemoteUserInfo;
  'mute-video': RemoteUserInfo;
  'unmute-audio': RemoteUserInfo;
  'unmute-video': RemoteUserInfo;
  'client-banned': ClientBannedInfo;
  /** Every two seconds from `join` to `leave`. */
  'network-quality': NetworkQualityInfo;
  /** Ours: another of a stream's videos comes than before, or for another reason. Before the first it is the big one. */
  'video-received': VideoReceivedInfo;
  'audio-volume': AudioVolumeInfo;
  /** With `enableSEI`: what somebody sent with a frame. */
  'sei-message': SEIMessageEvent;
  'connection-state-changed': ConnectionStateChange;
  error: RtcError;
}

/** What came with a frame of a user's video. */
export interface SEIMessageEvent {
  data: ArrayBuffer;
  userId: string;
  seiPayloadType: 5 | 243;
  isFromAuxiliary: boolean;
}

export interface PlayerStateChange {
  type: 'audio' | 'video';
  state: 'PLAYING' | 'PAUSED' | 'STOPPED';
  reason: 'playing' | 'mute' | 'unmute' | 'ended' | 'pause';
}

/** The events of a stream and what their handlers get. */
export interface StreamEventMap {
  'player-state-changed': PlayerStateChange;
  'screen-sharing-stopped': undefined;
  /** The media connection that it goes out or comes in by. */
  'connection-state-changed': ConnectionStateChange;
  /** A camera or microphone that had ended by itself is captured again, or another in its place. */
  'device-auto-recovered': DeviceAutoRecovered;
  error: RtcError;
}

/** Which of the two it was, and the ids of those that the stream has now; '' for none. */
export interface DeviceAutoRecovered {
  isCamera: boolean;
  isMicrophone: boolean;
  cameraId: string;
  microphoneId: string;
}

/** What `checkSystemRequirements` finds. */
export interface CheckResult {
  result: boolean;
  detail: {
    isBrowserSupported: boolean;
    isWebRTCSupported: boolean;
    isMediaDevicesSupported: boolean;
    isH264EncodeSupported: boolean;
    isH264DecodeSupported: boolean;
    isVp8EncodeSupported: boolean;
    isVp8DecodeSupported: boolean;
  };
}

/** What every refusal and failure of the SDK is. */
export interface RtcError extends Error {
  /** The code of the catalogue, for example 0x4001. */
  getCode(): number;
  /** The account or room code behind `code`, else 0. */
  getExtraCode(): number;
  readonly extraCode: number;
  /** The same text as `message`. */
  readonly message_: string;
}

/** What `setProxyServer` takes in its long form; the signaling address is what counts here. */
export interface ProxyServer {
  websocketProxy?: string;
  unifiedProxy?: string;
  scheduleProxy?: string;
  /** Accepted for v4 apps; this SDK uploads no logs. */
  loggerProxy?: string;
}

/** A TURN server of the app's. */
export interface TurnServerConfig {
  /** `host:port`, or a whole `turn:` or `turns:` address. */
  url: string;
  username?: string;
  credential?: string;
  credentialType?: 'password';
}

/** Milliseconds to the server and back; 0 while they are not known. */
export interface TransportStats {
  /** Of what this user sends; 0 while nothing is published. */
  rtt: number;
  /** Of what comes from each user. All of it comes from the server, so these are one and the same. */
  downlinksRTT: Record<string, number>;
}

/** Sums since the start of a stream: what changes in two seconds makes a rate. */
export interface LocalAudioStats {
  bytesSent: number;
  packetsSent: number;
}

/** The same of a video, with its small stream; frames and their size are the big one's. */
export interface LocalVideoStats {
  bytesSent: number;
  packetsSent: number;
  framesEncoded: number;
  framesSent: number;
  frameWidth: number;
  frameHeight: number;
}

export interface RemoteAudioStats {
  bytesReceived: number;
  packetsReceived: number;
  packetsLost: number;
}

export interface RemoteVideoStats {
  bytesReceived: number;
  packetsReceived: number;
  packetsLost: number;
  framesDecoded: number;
  frameWidth: number;
  frameHeight: number;
}

/** By userId. */
export type LocalAudioStatsMap = Record<string, LocalAudioStats>;
export type LocalVideoStatsMap = Record<string, LocalVideoStats>;
export type RemoteAudioStatsMap = Record<string, RemoteAudioStats>;
export type RemoteVideoStatsMap = Record<string, RemoteVideoStats>;

/** What `startPublishCDNStream` takes. */
export interface PublishCDNStreamOptions {
  streamId?: string;
  appId?: number;
  bizId?: number;
  url?: string;
}

/** One of the pictures and voices that are mixed. */
export interface MixUser {
  userId: string;
  roomId: number | string;
  pureAudio: boolean;
  width?: number;
  height?: number;
  locationX?: number;
  locationY?: number;
  zOrder?: number;
  streamType?: RemoteStreamType;
  renderMode: 0 | 1 | 2;
}

/** What `startMixTranscode` takes. */
export interface MixTranscodeConfig {
  mode?: 'manual' | 'preset-layout';
  streamId?: string;
  videoWidth?: number;
  videoHeight?: number;
  videoBitrate?: number;
  videoFramerate?: number;
  videoGOP?: number;
  audioSampleRate?: number;
  audioBitrate?: number;
  audioChannels?: 1 | 2;
  backgroundColor?: number;
  backgroundImage?: string;
  mixUsers: MixUser[];
}

/** One user's way into one room at a time. */
export interface Client {
  /** Says where the server is: an http, https, ws or wss address. Before `join`. */
  setProxyServer(server: string | ProxyServer): void;
  /** Names TURN servers for networks that let nothing else through. Before `join`. */
  setTurnServer(servers: TurnServerConfig | TurnServerConfig[]): void;
  /** Lets go of the client, after `leave`. Nothing can be done with it afterwards. */
  destroy(): void;
  /** Round trips to the server. */
  getTransportStats(): Promise<TransportStats>;
  /** What this user sends, by its own userId; empty while nothing of that kind is published. */
  getLocalAudioStats(): Promise<LocalAudioStatsMap>;
  getLocalVideoStats(): Promise<LocalVideoStatsMap>;
  /** What comes from each user that is subscribed to; of pictures the main streams' or the screens'. */
  getRemoteAudioStats(): Promise<RemoteAudioStatsMap>;
  getRemoteVideoStats(type?: RemoteStreamType): Promise<RemoteVideoStatsMap>;
  /** Rejects with 0x4047 and 0x4048: this version mixes no streams. */
  startMixTranscode(config: MixTranscodeConfig): Promise<void>;
  stopMixTranscode(): Promise<void>;
  /** Rejects with 0x4045 and 0x4046: this version sends nothing to a CDN. */
  startPublishCDNStream(options?: PublishCDNStreamOptions): Promise<void>;
  stopPublishCDNStream(): Promise<void>;
  /** `updatePrivateMapKey` gives the client another `privateMapKey` for the next time that the room is entered. */
  callExperimentalAPI(name: 'updatePrivateMapKey', options: object): Promise<void>;
  /** Enters a room, which comes into being with its first user. */
  join(options: JoinOptions): Promise<void>;
  /** Leaves the room: what is published stops, what is received is closed. */
  leave(): Promise<void>;
  /** Publishes a stream that is initialized; a screen may go beside the main stream with `isAuxiliary`. */
  publish(stream: LocalStream, options?: { isAuxiliary?: boolean }): Promise<void>;
  /** Stops publishing a stream. */
  unpublish(stream: LocalStream): Promise<void>;
  /** Receives a remote stream's audio, video or both; called again it changes which. */
  subscribe(stream: RemoteStream, options?: { audio?: boolean; video?: boolean }): Promise<void>;
  /** Stops receiving a remote stream. */
  unsubscribe(stream: RemoteStream): Promise<void>;
  /** Sends the main stream's video as a small stream as well. Before `publish`; needs VP8 or H264. */
  enableSmallStream(): Promise<void>;
  /** Sends no small stream any more. Before `publish`. */
  disableSmallStream(): Promise<void>;
  /** What the small stream is; its shape must be the big one's. Left out, it is derived from the big one. */
  setSmallStreamProfile(profile: SmallStreamProfile): void;
  /**
   * Receives a remote stream's video as the small or the big one. May be called before `subscribe`, and whether or not
   * there is a small one: as long as there is none the big one comes.
   */
  setRemoteVideoStreamType(stream: RemoteStream, type: VideoType): Promise<void>;
  /**
   * Tells how loud everybody is by `audio-volume` every `interval` milliseconds (2000 if left out, 100 at the least), whether
   * or not anybody speaks; 0 or less: no more. While the page is hidden only with `enableInBackground`.
   */
  enableAudioVolumeEvaluation(interval?: number, enableInBackground?: boolean): void;
  /**
   * Becomes an anchor, who may publish, or audience, which publishes nothing any more. In `live` mode; where the app asks
   * for a `privateMapKey`, who becomes an anchor needs one that is good then. Rejects with 0x404a if it is refused.
   */
  switchRole(role: Role): Promise<void>;
  /** Sends a message with the next frame of the published video; `seiPayloadType` is 243, or 5 for one that begins with a UUID. */
  sendSEIMessage(buffer: ArrayBuffer, options?: { seiPayloadType: number }): void;
  /** What every remote user publishes and has muted. */
  getRemoteMutedState(): RemoteMutedState[];
  getUserId(): string;
  on<K extends keyof ClientEventMap>(event: K, handler: (event: ClientEventMap[K]) => void, context?: unknown): void;
  off<K extends keyof ClientEventMap>(event: K, handler?: (event: ClientEventMap[K]) => void, context?: unknown): void;
  /** Takes every handler away. */
  off(event: '*'): void;
}

/** What local and remote streams share: at most one track of each kind, and a place on the page. */
export interface Stream {
  /**
   * Plays the stream in an element of the page, given by its id or itself; it gets a child `player_<stream id>`.
   * Tracks that come later are played there too. Called again it moves the stream or changes how it is shown.
   */
  play(element: HTMLDivElement['id'] | HTMLDivElement, options?: PlaybackOptions): Promise<void>;
  /** Takes the stream off the page. */
  stop(): void;
  /** Plays on after a pause, or after the browser wanted a gesture first. */
  resume(): Promise<void>;
  /** Stops playing and lets go of what the stream holds: a local stream closes its devices. */
  close(): void;
  /** Switches the sound off; false if there is none. On a remote stream it is silent for this user alone. */
  muteAudio(): boolean;
  unmuteAudio(): boolean;
  muteVideo(): boolean;
  unmuteVideo(): boolean;
  /** The stream's id, unique in its room. */
  getId(): string;
  getUserId(): string;
  hasAudio(): boolean;
  hasVideo(): boolean;
  getAudioTrack(): MediaStreamTrack | null;
  getVideoTrack(): MediaStreamTrack | null;
  /** Plays the sound on another device; rejects with 0x1003 if there is none with that id, with 0x1002 where browsers cannot. */
  setAudioOutput(deviceId: string): Promise<void>;
  /** How loud it is played, from 0 to 1. */
  setAudioVolume(volume: number): void;
  /** How loud the sound is just now, from 0 to 1. It is 0 until the page had a click or a key. */
  getAudioLevel(): number;
  /** The picture that is shown, as a data URL of a PNG; null when none is. */
  getVideoFrame(): string | null;
  on<K extends keyof StreamEventMap>(event: K, handler: (event: StreamEventMap[K]) => void, context?: unknown): void;
  off<K extends keyof StreamEventMap>(event: K, handler?: (event: StreamEventMap[K]) => void, context?: unknown): void;
  off(event: '*'): void;
}

/** This user's own stream: camera and microphone, a screen, or tracks that the app made. */
export interface LocalStream extends Stream {
  /** Opens the devices, or takes the given tracks. */
  initialize(): Promise<void>;
  getType(): string;
  /** One of `standard` (the default), `high`, `standard-stereo` and `high-stereo`. */
  setAudioProfile(profile: string): void;
  /** A name such as `480p`, or a size with rate and bitrate (kbit/s). Unknown names count as `480p_2`. */
  setVideoProfile(profile: string | VideoProfile): void;
  /** The same for a shared screen. */
  setScreenProfile(profile: string | VideoProfile): void;
  /** Tells the encoder what the picture is. */
  setVideoContentHint(hint: 'motion' | 'detail' | 'text'): void;
  /** How loud the microphone is sent, in percent: 100 is as it is captured. False if the stream has no sound. */
  // eslint-disable-next-line @typescript-eslint/no-wrapper-object-types -- as v4 declares it
  setAudioCaptureVolume(volume: Number): boolean;
  /** Goes on with another camera or microphone. */
  switchDevice(type: 'audio' | 'video', deviceId: string): Promise<void>;
  /** Adds a track of a kind that the stream lacks. */
  addTrack(track: MediaStreamTrack): Promise<void>;
  /** Takes a track out of the stream. */
  removeTrack(track: MediaStreamTrack): Promise<void>;
  /** Sends another track in place of the one of its kind. */
  replaceTrack(track: MediaStreamTrack): Promise<void>;
}

/** Another user's stream. It is the same object from `stream-added` to `stream-removed`. */
export interface RemoteStream extends Stream {
  /** `main` is camera and microphone, `auxiliary` is a shared screen. */
  getType(): RemoteStreamType;
}

/** A size in pixels, frames a second, and kbit/s; what is left out is the default profile's. */
export interface VideoProfile {
  width?: number;
  height?: number;
  frameRate?: number;
  bitrate?: number;
}

/** The size in pixels, frames a second, and kbit/s of a small stream. */
export interface SmallStreamProfile {
  width: number;
  height: number;
  bitrate: number;
  frameRate: number;
}

type LogLevelValue = 0 | 1 | 2 | 3 | 4 | 5;

/** The SDK itself: the global `TRTC`, or the default export. */
export interface TRTCStatic {
  readonly VERSION: string;
  readonly Logger: {
    readonly LogLevel: {
      readonly TRACE: 0;
      readonly DEBUG: 1;
      readonly INFO: 2;
      readonly WARN: 3;
      readonly ERROR: 4;
      readonly NONE: 5;
    };
    /** What the console is told: this level and all above it. */
    setLogLevel(level: LogLevelValue): void;
    /** For v4 apps: this SDK sends its logs nowhere. */
    enableUploadLog(): void;
    disableUploadLog(): void;
  };
  /** Ours: every code under its key. */
  readonly ErrorCode: Readonly<Record<string, number>>;
  /** A client for one user; throws INVALID_PARAMETER for a configuration that cannot be used. */
  createClient(config: ClientConfig): Client;
  /** A stream of camera and microphone, of a screen, or of tracks of your own. */
  createStream(config: StreamConfig): LocalStream;
  /** Whether a call can be made with this browser on this page, and what is missing if not. */
  checkSystemRequirements(): Promise<CheckResult>;
  isScreenShareSupported(): boolean;
  /** Whether this browser can send a video as a small stream as well; iOS and WeChat cannot. */
  isSmallStreamSupported(): boolean;
  /** All devices that the browser shows; names are empty until the page was allowed to use one. */
  getDevices(): Promise<MediaDeviceInfo[]>;
  getCameras(): Promise<MediaDeviceInfo[]>;
  /** Without the browser's doubles of the default and the communication device. */
  getMicrophones(): Promise<MediaDeviceInfo[]>;
  getSpeakers(): Promise<MediaDeviceInfo[]>;
}
