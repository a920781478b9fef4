import { OperatorError } from '../../util/operator-error.ts';

/** Local state of one installation meets the control plane (or other local state) of another. Never mixed; a person decides. */
export class ForeignInstallationError extends OperatorError {
  readonly local: string;
  readonly other: string;

  /** `what` is a noun phrase for the local state, for example `the snapshot in /data/gateway-0`. */
  constructor(what: string, local: string, other: string) {
    super(
      `${what} belongs to installation ${local}, but this gateway is connected to installation ${other}. ` +
        'Point it at its own database, or move its data directory away to start without local state.',
    );
    this.local = local;
    this.other = other;
  }
}
