/** The levels of `TRTC.Logger`. */
export const LogLevel = { TRACE: 0, DEBUG: 1, INFO: 2, WARN: 3, ERROR: 4, NONE: 5 } as const;
export type LogLevelValue = (typeof LogLevel)[keyof typeof LogLevel];

let threshold: LogLevelValue = LogLevel.INFO;

export function setLogLevel(level: LogLevelValue): void {
  threshold = level;
}

function write(level: LogLevelValue, to: (...parts: unknown[]) => void, parts: unknown[]): void {
  if (level >= threshold) to('[parlour]', ...parts);
}

export const log = {
  debug: (...parts: unknown[]) => write(LogLevel.DEBUG, console.debug, parts),
  info: (...parts: unknown[]) => write(LogLevel.INFO, console.info, parts),
  warn: (...parts: unknown[]) => write(LogLevel.WARN, console.warn, parts),
  error: (...parts: unknown[]) => write(LogLevel.ERROR, console.error, parts),
};
