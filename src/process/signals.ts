import { closeSync, openSync } from 'node:fs';

export interface SignalHandlers {
  /** Called for each signal that asks to end. */
  readonly onEnd: (signal: NodeJS.Signals) => void;
  readonly onReload: () => void;
}

/** Signals of a terminal and of a service manager. Returns what takes the handlers away again. */
export function handleSignals({ onEnd, onReload }: SignalHandlers): () => void {
  const hasTerminal = process.stdout.isTTY === true;
  const onHangUp = (): void => {
    // Closing a terminal sends the same signal as a request to reload, and whoever closes it wants the program to end.
    if (hasTerminal && terminalIsGone()) onEnd('SIGHUP');
    else onReload();
  };
  process.on('SIGTERM', onEnd).on('SIGINT', onEnd).on('SIGHUP', onHangUp);
  return () => {
    process.off('SIGTERM', onEnd).off('SIGINT', onEnd).off('SIGHUP', onHangUp);
  };
}

function terminalIsGone(): boolean {
  try {
    closeSync(openSync('/dev/tty', 'r'));
    return false;
  } catch {
    return true;
  }
}
