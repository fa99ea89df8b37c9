declare const __VERSION__: string | undefined;

/** The version of this SDK; the tests run from source, where the build has not filled it in. */
export const VERSION: string = typeof __VERSION__ === 'string' ? __VERSION__ : '0.0.0';
