import { OperatorError } from '../util/operator-error.ts';

/** A setting that Claviger can not start with. The message is a sentence for the operator, without any secret in it. */
export class SettingsError extends OperatorError {}

/** A mistake in `config.yaml`, with its place. */
export class ConfigError extends SettingsError {
  readonly file: string;
  /** 1-based; null when the mistake has no line (the file is missing). */
  readonly line: number | null;

  constructor(file: string, line: number | null, sentence: string, options?: ErrorOptions) {
    super(`${file}${line === null ? '' : `:${line}`}: ${sentence}`, options);
    this.file = file;
    this.line = line;
  }
}
