import { mkdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import type { JoinAnswer } from '../feed/join.ts';
import type { IdentitySource, SigningIdentity } from '../gateway/live/request-signer.ts';
import { writeFileAtomicSync } from '../util/atomic-file.ts';
import { makeSigningPair, readPrivateKey, readPublicKey } from '../util/ed25519.ts';
import { OperatorError } from '../util/operator-error.ts';

/** What a worker that joined knows of itself; `identity/identity.json`. */
export interface JoinedIdentity extends JoinAnswer {
  readonly format: 1;
  /** Ed25519, PKCS #8 in base64. */
  readonly privateKey: string;
  /** Wall clock of this machine at the join or the last renewal. */
  readonly renewedAtMs: number;
}

export function identityDirectory(dataDir: string): string {
  return join(dataDir, 'identity');
}

/** Null: this worker has not joined. Throws `OperatorError` for a file that can not be used. */
export function readIdentity(dataDir: string): JoinedIdentity | null {
  const path = join(identityDirectory(dataDir), IDENTITY_FILE);
  const text = readPrivateFile(path);
  if (text === null) return null;
  try {
    const value = JSON.parse(text) as JoinedIdentity;
    if (value.format !== 1) throw new Error(`format ${value.format}`);
    for (const name of TEXTS) if (typeof value[name] !== 'string' || value[name] === '') throw new Error(`no ${name}`);
    for (const name of ['renewedAtMs', 'validForMs'] as const) {
      if (!Number.isFinite(value[name])) throw new Error(`no ${name}`);
    }
    readPrivateKey(value.privateKey);
    readPublicKey(value.installationKey);
    return value;
  } catch {
    // A new identity would need a token, and would leave the old one enrolled; that is for the operator to decide.
    throw new OperatorError(
      `${path} can not be used. Restore it from a backup, or remove the directory and join again: get a token on an admin (claviger fleet token --region <region>) and set CLAVIGER_JOIN_TOKEN.`,
    );
  }
}

export function writeIdentity(dataDir: string, identity: JoinedIdentity): void {
  makeDirectory(dataDir);
  const path = join(identityDirectory(dataDir), IDENTITY_FILE);
  writeFileAtomicSync(path, `${JSON.stringify(identity, null, 2)}\n`, 0o600);
  rmSync(join(identityDirectory(dataDir), NEXT_KEY_FILE), { force: true });
}

/** The private key that is offered to the control plane: the same one until it was taken, also over a restart. `current`: taken. */
export function nextPrivateKey(dataDir: string, current: string | null): string {
  const path = join(identityDirectory(dataDir), NEXT_KEY_FILE);
  const kept = readPrivateFile(path)?.trim();
  if (kept !== undefined && kept !== current && isPrivateKey(kept)) return kept;
  const { privateKey } = makeSigningPair();
  makeDirectory(dataDir);
  writeFileAtomicSync(path, `${privateKey}\n`, 0o600);
  return privateKey;
}

/** The identity as a gateway process signs with it; `reload` sees what the supervisor has renewed. */
export class IdentityOnDisk implements IdentitySource {
  readonly #dataDir: string;
  #privateKey: string;
  #current: SigningIdentity;

  constructor(dataDir: string, identity: JoinedIdentity) {
    this.#dataDir = dataDir;
    this.#privateKey = identity.privateKey;
    this.#current = signingIdentity(identity);
  }

  current(): SigningIdentity {
    return this.#current;
  }

  reload(): boolean {
    let identity: JoinedIdentity | null;
    try {
      identity = readIdentity(this.#dataDir);
    } catch {
      // Damaged under our feet; what we have is all there is.
      return false;
    }
    if (identity === null || identity.privateKey === this.#privateKey) return false;
    this.#privateKey = identity.privateKey;
    this.#current = signingIdentity(identity);
    return true;
  }
}

const IDENTITY_FILE = 'identity.json';
const NEXT_KEY_FILE = 'next-key';
const TEXTS = ['instanceId', 'region', 'role', 'installation', 'installationKey', 'sealingKey', 'privateKey'] as const;

function signingIdentity({ instanceId, privateKey }: JoinedIdentity): SigningIdentity {
  return { instanceId, privateKey: readPrivateKey(privateKey) };
}

function makeDirectory(dataDir: string): void {
  mkdirSync(identityDirectory(dataDir), { recursive: true, mode: 0o700 });
}

function isPrivateKey(text: string): boolean {
  try {
    readPrivateKey(text);
    return true;
  } catch {
    return false;
  }
}

function readPrivateFile(path: string): string | null {
  let text: string;
  let mode: number;
  try {
    text = readFileSync(path, 'utf8');
    mode = statSync(path).mode;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT') return null;
    throw new OperatorError(
      `${path} can not be read (${code}). It must be readable for the account that runs Claviger.`,
    );
  }
  if ((mode & 0o077) !== 0) {
    throw new OperatorError(
      `${path} can be read or written by other accounts (mode ${(mode & 0o777).toString(8)}). Run: chmod 600 '${path}'. If others may have seen it, revoke this worker on an admin and join again.`,
    );
  }
  return text;
}
