import { loadConfigFile } from '../settings/config-yaml.ts';
import type { Settings } from '../settings/settings.ts';

export interface BannerInput {
  readonly settings: Settings;
  /** The real one, also when the settings say 0. */
  readonly port: number;
  /** The master key in full; null: only the variable it came from is named. */
  readonly masterKey: string | null;
  /** The model to call; null: the instance serves none, and a key is made instead. */
  readonly model: string | null;
}

/** What the first look at the terminal needs: where it is, how to get in, where the data is, and a command to paste. */
export function bannerText({ masterKey, model, port, settings }: BannerInput): string {
  const scheme = settings.tls === null ? 'http' : 'https';
  const address = `${scheme}://${dialable(settings.host)}:${port}${settings.serverRootPath}`;
  const isJoined = settings.controlPlaneUrls.length > 0;
  const key = masterKey === null ? (isJoined ? '$KEY' : '$LITELLM_MASTER_KEY') : masterKey;
  const [path, body] =
    model === null && !isJoined
      ? ['/key/generate', {}]
      : ['/v1/chat/completions', { model: model ?? 'your-model', messages: [{ role: 'user', content: 'Hello!' }] }];
  return [
    `Claviger is serving on ${address}`,
    isJoined
      ? `  control plane:  ${settings.controlPlaneUrls.join(', ')} (keys are made there)`
      : `  master key:     ${masterKey ?? 'as set in LITELLM_MASTER_KEY'}`,
    `  data directory: ${settings.dataDir}`,
    '  try:',
    `    curl ${settings.tls === null ? '' : '-k '}${shellWord(`${address}${path}`)} \\`,
    `      -H ${shellText(`Authorization: Bearer ${key}`, masterKey === null)} -H 'Content-Type: application/json' \\`,
    `      -d ${shellText(JSON.stringify(body), false)}`,
    '',
  ].join('\n');
}

/** The model of the example: the built-in one, else the first that has a name one can call. */
export function exampleModel(settings: Settings, env: Readonly<Record<string, string | undefined>>): string | null {
  if (settings.flags.disableLlmApiEndpoints) return null;
  if (settings.fakeModels) return 'fake-gpt';
  if (settings.configFilePath === null) return null;
  const { models } = loadConfigFile(settings.configFilePath, env).source;
  return models.find(({ modelName }) => !modelName.includes('*'))?.modelName ?? null;
}

/** An address that means "all of this machine" is none that one can call. */
function dialable(host: string): string {
  if (host === '0.0.0.0') return 'localhost';
  if (host === '::') return '[::1]';
  return host.includes(':') ? `[${host}]` : host;
}

function shellWord(text: string): string {
  return /^[\w:/.@%+=,-]+$/.test(text) ? text : shellText(text, false);
}

/** In single quotes nothing has a meaning; in double quotes a variable has. */
function shellText(text: string, expand: boolean): string {
  return expand ? `"${text}"` : `'${text.replaceAll("'", "'\\''")}'`;
}
