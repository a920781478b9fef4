import { type ChildProcess, fork } from 'node:child_process';
import cluster from 'node:cluster';
import { randomUUID } from 'node:crypto';
import { mkdirSync, rmdirSync, rmSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { limitsSocket } from '../gateway/limits/instance/peer-sockets.ts';
import type { Log } from '../observe/log.ts';
import type { Settings } from '../settings/settings.ts';
import { startEmbeddedPostgres } from '../storage/embedded/embedded-postgres.ts';
import type { Clock } from '../util/clock.ts';
import { OperatorError } from '../util/operator-error.ts';
import { runtimeDirectory } from '../util/runtime-directory.ts';
import { assertSocketPathFits } from '../util/unix-socket.ts';
import { MetricsCollector } from './collect-metrics.ts';
import { lockDataDirectory } from './data-directory-lock.ts';
import { DatabaseKeeper } from './database-keeper.ts';
import { instanceIdOf } from './instance-file.ts';
import { joinControlPlane } from './join-control-plane.ts';
import type { Boot, RuntimePaths, ToSupervisor } from './messages.ts';
import { listenForMetrics } from './metrics-listener.ts';
import { isAlive, type PreviousProcess, ProcessList } from './previous-processes.ts';
import { probePort } from './probe-port.ts';
import { restartMetrics } from './restart-metrics.ts';
import { handleSignals } from './signals.ts';
import { SupervisedProcess } from './supervised-process.ts';
import { rescueUndelivered } from './undelivered-connections.ts';

export interface SupervisorOptions {
  readonly settings: Settings;
  /** What the children get. */
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Program files of the two kinds of children. */
  readonly entries: { readonly gateway: string; readonly control: string };
  readonly log: Log;
  readonly clock: Clock;
  readonly random: () => number;
  /** Called once, when requests are answered. `late` says what does not run yet. */
  readonly onServing: (address: { readonly port: number; readonly late: string | null }) => void;
  /** A sentence for the operator when the instance can not start. */
  readonly onCannotRun: (error: unknown) => void;
  readonly readyTimeoutMs?: number;
  /** How long `onServing` waits for the control process. */
  readonly controlPatienceMs?: number;
}

/** A gateway process that never gets ready in this time can not start. */
export const READY_TIMEOUT_MS = 30_000;
/** Gateway processes serve without the control process; after this the operator is told so instead of being kept waiting. */
export const CONTROL_PATIENCE_MS = 10_000;
/** Added to the drain time, for the process to close its files and ship its usage log. */
const DRAIN_GRACE_MS = 5_000;
/** The control process has only the last usage batches to take in. */
const CONTROL_DRAIN_MS = 10_000;
/** A control process of a killed supervisor exits by itself at once. */
const PREVIOUS_CONTROL_WAIT_MS = 10_000;
const PREVIOUS_POLL_MS = 200;

/**
 * Runs one instance until it is told to end, and returns the exit code of the program.
 *
 * Everything is started at the same time: gateway processes serve what they have on disk whatever becomes of PostgreSQL and
 * the control process. Everything is ended in order, gateway processes first and PostgreSQL last, so that what is still
 * served can still be accounted for.
 */
export async function supervise(options: SupervisorOptions): Promise<number> {
  const { clock, env, settings } = options;
  const { dataDir } = settings;
  const socketDir = runtimeDirectory({
    dataDir,
    env,
    owner: { uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0 },
  });
  const paths: RuntimePaths = {
    socketDir,
    controlSocket: join(socketDir, 'control.sock'),
    feedSocket: join(socketDir, 'feed.sock'),
    slotDir: null,
  };
  for (const path of [paths.controlSocket, paths.feedSocket]) assertSocketPathFits(path);
  const lock = await lockDataDirectory({ dataDir, socketDir, clock });
  try {
    await probePort(settings.host, settings.port);
    const instanceId = instanceIdOf(dataDir);
    const joined = await joinControlPlane({ ...options, instanceId });
    const supervisor = new Supervisor({ ...options, settings: joined.settings }, paths, instanceId);
    const closeMetrics = await metricsListener(options, () => supervisor.metricsText());
    try {
      return await supervisor.run();
    } finally {
      joined.end();
      await closeMetrics();
    }
  } finally {
    // Processes that were killed leave their sockets.
    for (const path of [paths.controlSocket, paths.feedSocket]) rmSync(path, { force: true });
    for (let slot = 0; slot < settings.numWorkers; slot++) rmSync(limitsSocket(socketDir, slot), { force: true });
    await lock.release();
    try {
      rmdirSync(socketDir);
    } catch {
      // Not empty: a gateway process of an earlier run still has a socket there.
    }
  }
}

function metricsListener(
  { log, settings }: SupervisorOptions,
  text: () => Promise<string>,
): Promise<() => Promise<void>> {
  const { host, metricsPort } = settings;
  return metricsPort === null
    ? Promise.resolve(async () => {})
    : listenForMetrics({ host, port: metricsPort, text, log });
}

class Supervisor {
  readonly #options: SupervisorOptions;
  readonly #paths: RuntimePaths;
  readonly #instanceId: string;
  readonly #processes: ProcessList;
  readonly #database: DatabaseKeeper | null;
  /** Null on a worker that joined: its control plane is elsewhere. */
  readonly #control: SupervisedProcess | null;
  /** By slot. */
  readonly #gateways = new Map<number, SupervisedProcess>();
  readonly #metrics: MetricsCollector;
  /** Gateway processes that no longer serve and finish what is open. */
  readonly #retiring = new Set<SupervisedProcess>();
  #port: number;
  #serving = false;
  #patienceTimer: NodeJS.Timeout | null = null;
  #previousTimer: NodeJS.Timeout | null = null;
  /** Set by the first reason to end. */
  #exitCode: number | null = null;
  #finished: (exitCode: number) => void = () => {};

  constructor(options: SupervisorOptions, paths: RuntimePaths, instanceId: string) {
    this.#options = options;
    this.#paths = paths;
    this.#instanceId = instanceId;
    this.#port = options.settings.port;
    this.#processes = new ProcessList(options.settings.dataDir);
    const isJoined = options.settings.controlPlaneUrls.length > 0;
    this.#database = options.settings.databaseUrl === null && !isJoined ? this.#databaseKeeper() : null;
    this.#control = isJoined ? null : this.#controlProcess();
    this.#metrics = new MetricsCollector(
      () => this.#children,
      () => restartMetrics({ gateways: this.#gateways, control: this.#control, database: this.#database }),
    );
  }

  metricsText(): Promise<string> {
    return this.#metrics.collect();
  }

  run(): Promise<number> {
    const { controlPatienceMs = CONTROL_PATIENCE_MS, entries, settings } = this.#options;
    const finished = new Promise<number>((resolve) => {
      this.#finished = resolve;
    });
    const removeSignalHandlers = this.#handleSignals();
    cluster.schedulingPolicy = cluster.SCHED_RR;
    cluster.setupPrimary({ exec: entries.gateway, args: [] });
    const onListening = (_worker: unknown, address: Pick<AddressInfo, 'port'>): void => {
      // With port 0 the system chose it; a process that is started again listens on the same one.
      this.#port = address.port;
    };
    cluster.on('listening', onListening);

    const previous = this.#processes.previous();
    for (let index = 0; index < settings.numWorkers; index++)
      this.#startGateway(freeSlot(index, previous, this.#gateways));
    this.#startControlAfter(previous.filter(({ slot }) => slot === null));
    this.#moveBackAfter(previous.filter(({ slot }) => slot !== null));
    // Last, because it first looks around in the file system without giving way.
    this.#database?.start();
    this.#patienceTimer = setTimeout(() => this.#announce(true), controlPatienceMs);

    return finished.finally(() => {
      removeSignalHandlers();
      cluster.off('listening', onListening);
    });
  }

  #startGateway(slot: number, onFirstReady: () => void = () => {}): void {
    const { env, log, readyTimeoutMs = READY_TIMEOUT_MS, settings } = this.#options;
    const slotDir = join(settings.dataDir, `gateway-${slot}`);
    mkdirSync(slotDir, { recursive: true, mode: 0o700 });
    let first = true;
    const gateway = new SupervisedProcess({
      ...this.#common(),
      name: `gateway process ${slot}`,
      fork: () => {
        const worker = cluster.fork(env);
        const { process: child } = worker;
        // Errors of its channel (it died while it was sent something) are handled where they arise, on the process.
        worker.on('error', () => {});
        rescueUndelivered(child, () => this.#othersListen(child.pid));
        return child;
      },
      // Only the control process talks to the database.
      boot: async () => ({ ...this.#boot(slot), databaseUrl: '', paths: { ...this.#paths, slotDir } }),
      helloFirst: true,
      readyTimeoutMs,
      onStart: (child) => this.#record(slot, child),
      onReady: () => {
        log.info({ slot, pid: gateway.pid }, 'gateway process ready');
        if (first) onFirstReady();
        first = false;
        this.#announce(false);
      },
      onMessage: (message) => this.#receive(gateway, message),
    });
    this.#gateways.set(slot, gateway);
    gateway.start();
  }

  #othersListen(pid: number | undefined): boolean {
    if (this.#exitCode !== null) return false;
    return [...this.#gateways.values()].some((gateway) => gateway.ready && gateway.pid !== pid);
  }

  #controlProcess(): SupervisedProcess {
    const { entries, env, log, settings } = this.#options;
    const control: SupervisedProcess = new SupervisedProcess({
      ...this.#common(),
      name: 'control process',
      fork: () => fork(entries.control, [], { env: env as NodeJS.ProcessEnv }),
      boot: async () => ({ ...this.#boot(null), databaseUrl: settings.databaseUrl ?? (await this.#database!.url) }),
      helloFirst: false,
      // It may wait for a database that is away, and nothing depends on it that much.
      readyTimeoutMs: null,
      onStart: (child) => this.#record(null, child),
      onReady: () => {
        log.info({ pid: control.pid }, 'control process ready');
        this.#announce(false);
      },
      onMessage: (message) => this.#receive(control, message),
    });
    return control;
  }

  #databaseKeeper(): DatabaseKeeper {
    const { settings } = this.#options;
    return new DatabaseKeeper({
      ...this.#common(),
      startDatabase: (signal) =>
        startEmbeddedPostgres({
          signal,
          dataDir: settings.dataDir,
          socketDir: this.#paths.socketDir,
          instanceId: this.#instanceId,
          log: this.#options.log,
          clock: this.#options.clock,
        }),
    });
  }

  #common() {
    const { clock, log, random } = this.#options;
    return { clock, log, random, onCannotRun: (reason: unknown) => this.#cannotRun(reason) };
  }

  #boot(slot: number | null): Omit<Boot, 'databaseUrl'> {
    const { settings } = this.#options;
    return {
      type: 'boot',
      settings: { ...settings, port: this.#port },
      embeddedDatabase: this.#database !== null,
      instanceId: this.#instanceId,
      slot,
      session: randomUUID(),
      paths: this.#paths,
    };
  }

  #record(slot: number | null, { pid }: ChildProcess): void {
    if (pid !== undefined) this.#processes.record(slot, pid);
  }

  #receive(source: SupervisedProcess, message: ToSupervisor): void {
    if (message.type === 'collected-metrics') this.#metrics.receive(source, message);
    if (message.type === 'ask-metrics') {
      const { id } = message;
      void this.#metrics.collect().then((text) => source.send({ type: 'metrics', id, text }));
    }
    if (message.type === 'end-instance') this.#cannotRun(message.message);
    // Each of its gateway processes is asked; the first one ends all.
    if (message.type === 'drain-instance' && this.#exitCode === null) {
      this.#options.log.info({}, 'ending: an operator asked for it');
      void this.#end(0, this.#options.settings.drainNoticeMs);
    }
  }

  /** The control process of a killed supervisor has our sockets until it exits, and would remove ours when it does. */
  #startControlAfter(previous: readonly PreviousProcess[]): void {
    const deadlineMs = this.#options.clock.monotonicMs() + PREVIOUS_CONTROL_WAIT_MS;
    const attempt = (): void => {
      if (this.#exitCode !== null) return;
      const alive = previous.filter(isAlive);
      if (alive.length === 0) {
        this.#control?.start();
        return;
      }
      if (this.#options.clock.monotonicMs() > deadlineMs) for (const { pid } of alive) process.kill(pid, 'SIGKILL');
      setTimeout(attempt, PREVIOUS_POLL_MS);
    };
    attempt();
  }

  /**
   * A gateway process of a killed supervisor finishes its open streams, and its slot (usage log, snapshot) is its own until
   * then. Meanwhile another slot serves in its place. When it has exited its slot is opened again, so that what is in its log
   * is shipped, and the stand-in is drained.
   */
  #moveBackAfter(previous: readonly PreviousProcess[]): void {
    const { numWorkers } = this.#options.settings;
    let waiting = previous.filter(({ slot }) => slot !== null && slot < numWorkers);
    const look = (): void => {
      const gone = waiting.filter((process) => !isAlive(process));
      waiting = waiting.filter((process) => !gone.includes(process));
      for (const { slot } of gone) if (slot !== null) this.#moveBack(slot);
      if (waiting.length > 0) this.#previousTimer = setTimeout(look, PREVIOUS_POLL_MS);
    };
    if (waiting.length > 0) {
      const pids = waiting.map(({ pid }) => pid);
      this.#options.log.info({ pids }, 'gateway processes of an earlier run finish their open requests');
      look();
    }
  }

  #moveBack(slot: number): void {
    if (this.#exitCode !== null || this.#gateways.has(slot)) return;
    this.#startGateway(slot, () => {
      const standIn = Math.max(...this.#gateways.keys());
      const gateway = this.#gateways.get(standIn);
      if (gateway === undefined || standIn < this.#options.settings.numWorkers) return;
      this.#gateways.delete(standIn);
      this.#retiring.add(gateway);
      void gateway.drain(this.#drainMs).then(() => this.#retiring.delete(gateway));
    });
  }

  get #children(): SupervisedProcess[] {
    return [...this.#gateways.values(), ...(this.#control === null ? [] : [this.#control])];
  }

  get #drainMs(): number {
    return this.#options.settings.drainTimeoutMs + DRAIN_GRACE_MS;
  }

  #announce(outOfPatience: boolean): void {
    if (this.#serving || this.#exitCode !== null) return;
    const gatewayReady = [...this.#gateways.values()].some((gateway) => gateway.ready);
    if (outOfPatience) this.#patienceTimer = null;
    if (!gatewayReady || (this.#control?.ready === false && this.#patienceTimer !== null)) return;
    this.#serving = true;
    if (this.#patienceTimer !== null) clearTimeout(this.#patienceTimer);
    const late =
      this.#control?.ready !== false
        ? null
        : 'The control process is not ready yet: keys that are known already are served, and the management API answers 503 until it is.';
    this.#options.onServing({ port: this.#port, late });
  }

  #handleSignals(): () => void {
    const { log, settings } = this.#options;
    return handleSignals({
      onEnd: (signal) => {
        const first = this.#exitCode === null;
        log.info({ signal }, first ? 'ending; a second signal ends at once' : 'ending at once');
        // Who presses Ctrl-C has no balancer in front.
        const noticeMs = signal === 'SIGINT' ? 0 : settings.drainNoticeMs;
        void (first ? this.#end(0, noticeMs) : this.#endAtOnce());
      },
      onReload: () => {
        log.info({}, 'reloading the configuration');
        for (const child of this.#children) child.send({ type: 'reload' });
      },
    });
  }

  #cannotRun(reason: unknown): void {
    if (this.#exitCode !== null) return;
    this.#options.onCannotRun(typeof reason === 'string' ? new OperatorError(reason) : reason);
    void this.#end(1);
  }

  async #end(exitCode: number, noticeMs = 0): Promise<void> {
    this.#exitCode = exitCode;
    this.#clearTimers();
    const gateways = [...this.#gateways.values(), ...this.#retiring];
    await Promise.all(gateways.map((gateway) => gateway.drain(this.#drainMs, noticeMs)));
    await this.#control?.drain(CONTROL_DRAIN_MS);
    await this.#database?.stop('fast');
    this.#finished(exitCode);
  }

  async #endAtOnce(): Promise<void> {
    const children = [...this.#children, ...this.#retiring];
    await Promise.all(children.map((child) => child.kill()));
    await this.#database?.stop('immediate');
    this.#finished(1);
  }

  #clearTimers(): void {
    for (const timer of [this.#patienceTimer, this.#previousTimer]) if (timer !== null) clearTimeout(timer);
  }
}

/** The slot itself, or when a process of an earlier run still has it the lowest one that nobody has. */
export function freeSlot(
  wanted: number,
  previous: readonly Pick<PreviousProcess, 'slot'>[],
  taken: { has(slot: number): boolean },
): number {
  const free = (slot: number): boolean => !taken.has(slot) && !previous.some((process) => process.slot === slot);
  let slot = wanted;
  while (!free(slot)) slot++;
  return slot;
}
