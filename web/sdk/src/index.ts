import { Client } from './client.js';
import * as devices from './devices.js';
import { ErrorCode, invalidParameter } from './errors.js';
import { LogLevel, setLogLevel } from './logger.js';
import { isScreenShareSupported } from './streams/capture.js';
import { LocalStream } from './streams/local-stream.js';
import { checkSystemRequirements } from './support.js';
import type { TRTCStatic } from './types.js';
import { clientConfig, streamConfig } from './validate.js';
import { VERSION } from './version.js';

export type * from './types.js';

const TRTC: TRTCStatic = {
  VERSION,
  Logger: {
    LogLevel,
    setLogLevel(level) {
      if (!Object.values(LogLevel).includes(level)) {
        throw invalidParameter(`setLogLevel: the level must be a number from 0 to 5, not ${String(level)}`);
      }
      setLogLevel(level);
    },
    enableUploadLog: () => undefined,
    disableUploadLog: () => undefined,
  },
  ErrorCode,
  createClient: (config) => new Client({ ...clientConfig(config) }),
  createStream: (config) => new LocalStream({ ...streamConfig(config) }),
  checkSystemRequirements,
  isScreenShareSupported,
  getDevices: devices.getDevices,
  getCameras: devices.getCameras,
  getMicrophones: devices.getMicrophones,
  getSpeakers: devices.getSpeakers,
};

export default TRTC;
