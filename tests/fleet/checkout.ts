import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { chmodSync, cpSync, mkdirSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { isAlive, processTree } from '../support/processes-table.ts';
import { until } from '../support/until.ts';

const ROOT = resolve(import.meta.dirname, '../..');
/** What the start command looks at. The packages are linked: they are the same ones. */
const COPIED = ['package.json', 'package-lock.json', 'tsconfig.json', 'tsconfig.build.json', 'scripts', 'src', 'dist'];

/** An installed and built checkout in another place. */
export interface Checkout extends AsyncDisposable {
  readonly path: string;
  /** A new directory beside it, for data directories and configuration files. */
  directory(name: string): string;
  /** `npm start -- <args>` without npm between. */
  start(args: readonly string[], env?: Readonly<Record<string, string>>): StartedProgram;
}

/** `pathLength`: the path of the checkout has so many characters, spaces among them. */
export function makeCheckout(pathLength: number): Checkout {
  const parent = mkdtempSync(join(tmpdir(), 'claviger start '));
  chmodSync(parent, 0o711);
  const path = join(parent, 'a checkout '.padEnd(pathLength - parent.length - 1, 'x'));
  mkdirSync(path);
  for (const name of COPIED) cpSync(join(ROOT, name), join(path, name), { recursive: true });
  symlinkSync(join(ROOT, 'node_modules'), join(path, 'node_modules'));
  markAsBuilt(path);
  const started: StartedProgram[] = [];
  return {
    path,
    directory(name) {
      const made = join(parent, name);
      mkdirSync(made);
      return made;
    },
    start(args, env = {}) {
      const program = new StartedProgram(join(path, 'scripts', 'start.mjs'), args, path, env);
      started.push(program);
      return program;
    },
    async [Symbol.asyncDispose]() {
      for (const program of started) await program.destroy();
      rmSync(parent, { recursive: true, force: true, maxRetries: 5 });
    },
  };
}

/** Like every test of processes these run what is in `dist`, also while somebody works on the sources. */
function markAsBuilt(path: string): void {
  const prepare = JSON.stringify(pathToFileURL(join(path, 'scripts', 'lib', 'prepare.mjs')).href);
  const script = `const { buildStampPath, sourceHash } = await import(${prepare});
    (await import('node:fs')).writeFileSync(buildStampPath, sourceHash());`;
  execFileSync(process.execPath, ['--input-type=module', '-e', script]);
}

/** A program under test, with everything that it printed. */
export class StartedProgram {
  stdout = '';
  stderr = '';
  readonly pid: number;
  readonly exited: Promise<number | NodeJS.Signals | null>;
  readonly #child: ChildProcess;
  readonly #seen = new Set<number>();

  constructor(script: string, args: readonly string[], cwd: string, env: Readonly<Record<string, string>>) {
    this.#child = spawn(process.execPath, [script, ...args], {
      cwd,
      env: { PATH: process.env.PATH, HOME: process.env.HOME, HOST: '127.0.0.1', ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    this.pid = this.#child.pid ?? 0;
    this.#child.stdout?.setEncoding('utf8').on('data', (text: string) => {
      this.stdout += text;
    });
    this.#child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.stderr += text;
    });
    this.exited = new Promise((done) => this.#child.once('close', (code, signal) => done(signal ?? code)));
  }

  get output(): string {
    return this.stdout + this.stderr;
  }

  get hasEnded(): boolean {
    return this.#child.exitCode !== null || this.#child.signalCode !== null;
  }

  /** The address of the banner, which is printed last. */
  async serving(): Promise<string> {
    const [, url] = await this.printed(/Claviger is serving on (\S+)\n(?:.*\n){6}/);
    this.processes();
    return url!;
  }

  async printed(pattern: RegExp, timeoutMs = 30_000): Promise<RegExpExecArray> {
    return until(
      `the program prints ${pattern}`,
      () => {
        const found = pattern.exec(this.output);
        if (found === null && this.hasEnded) throw new Error(`it ended; it printed: ${this.output}`);
        return found;
      },
      timeoutMs,
    ).catch((error: Error) => {
      throw new Error(`${error.message}\n${this.output}`);
    });
  }

  /** Process ids of it and its descendants now. */
  processes(): { readonly pid: number; readonly command: string }[] {
    const tree = processTree(this.pid);
    for (const { pid } of tree) this.#seen.add(pid);
    return tree;
  }

  /** Those that were seen and still live. */
  alive(): number[] {
    return [...this.#seen].filter(isAlive);
  }

  signal(signal: NodeJS.Signals): void {
    this.#child.kill(signal);
  }

  async end(signal: NodeJS.Signals = 'SIGTERM'): Promise<number | NodeJS.Signals | null> {
    if (!this.hasEnded) {
      this.processes();
      this.signal(signal);
    }
    return this.exited;
  }

  /** Ends what is left, whatever a test did to it. */
  async destroy(): Promise<void> {
    if (!this.hasEnded) {
      const timer = setTimeout(() => this.signal('SIGKILL'), 20_000);
      await this.end();
      clearTimeout(timer);
    }
    for (const pid of this.alive()) process.kill(pid, 'SIGKILL');
  }
}
