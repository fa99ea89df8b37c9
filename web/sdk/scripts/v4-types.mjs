// Fetches the public type declarations of TRTC Web SDK v4 for `npm run typecheck`: that one file of the package, no code.
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, rmSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const PACKAGE = 'trtc-js-sdk';
const VERSION = '4.15.22';
const SHA512 = 'YC0YvHya0Dnrxs9+TsT6L73M5mTKt+Aqar56Hlq+C1LNiuCpCBl+6vs1DTz0yH/NELNl0Oiv6OSl5j6LwSOQrw==';

const folder = fileURLToPath(new URL('../../../.cache/v4-types/', import.meta.url));
if (!existsSync(`${folder}index.d.ts`)) {
  mkdirSync(folder, { recursive: true });
  const archive = `${folder}${PACKAGE}-${VERSION}.tgz`;
  execFileSync('npm', ['pack', `${PACKAGE}@${VERSION}`, '--silent', '--pack-destination', folder], { stdio: ['ignore', 'ignore', 'inherit'] });
  const sum = createHash('sha512').update(readFileSync(archive)).digest('base64');
  if (sum !== SHA512) throw new Error(`${PACKAGE} ${VERSION} is not what it was: its SHA-512 is ${sum}`);
  execFileSync('tar', ['-xzf', archive, '-C', folder, '--strip-components=1', 'package/index.d.ts']);
  rmSync(archive);
}
