import { Client } from './client.js';
import { getCameras, getDevices, getMicrophones, getSpeakers } from './devices.js';
import { ErrorCode, invalidParameter } from './errors.js';
import { LogLevel, setLogLevel } from './logger.js';
import { isScreenShareSupported } from './streams/capture.js';
import { LocalStream } from './streams/local-stream.js';
import { checkSystemRequirements, isSmallStreamSupported } from './support.js';
import type { TRTCStatic } from './types.js';
import { clientConfig, streamConfig } from './validate.js';
import { VERSION } from './version.js';

export type * from './types.js';

/** What the console is told. */
const Logger: TRTCStatic['Logger'] = {
  LogLevel,
  setLogLevel(level) {
    if (!Object.values(LogLevel).includes(level)) {
      throw invalidParameter(`setLogLevel: the level must be a number from 0 to 5, not ${String(level)}`);
    }
    setLogLevel(level);
  },
  enableUploadLog: () => undefined,
  disableUploadLog: () => undefined,
};

/** A client for one user; throws INVALID_PARAMETER for a configuration that cannot be used. */
const createClient: TRTCStatic['createClient'] = (config) => new Client({ ...clientConfig(config) });

/** A stream of camera and microphone, of a screen, or of tracks of your own. */
const createStream: TRTCStatic['createStream'] = (config) => new LocalStream({ ...streamConfig(config) });

const TRTC: TRTCStatic = {
  VERSION,
  Logger,
  ErrorCode,
  createClient,
  createStream,
  checkSystemRequirements,
  isScreenShareSupported,
  isSmallStreamSupported,
  getDevices,
  getCameras,
  getMicrophones,
  getSpeakers,
};

export default TRTC;

// The same by name, for apps that import what they use.
export {
  checkSystemRequirements,
  createClient,
  createStream,
  ErrorCode,
  getCameras,
  getDevices,
  getMicrophones,
  getSpeakers,
  isScreenShareSupported,
  isSmallStreamSupported,
  Logger,
  VERSION,
};
