import './lib/node-version.mjs';
import { generatedFile } from './lib/generated-file.mjs';
import { productionPackages, readJson } from './lib/production-tree.mjs';

// `node scripts/sbom.mjs [--check]`: sbom.cdx.json, the production packages of the lockfile as CycloneDX 1.5.
// Not `npm sbom --omit dev`: that leaves out packages which a development package needs too, such as hono and zod, and
// its output differs between npm versions and machines.
generatedFile('sbom.cdx.json', `${JSON.stringify(sbom(), null, 2)}\n`, 'node scripts/sbom.mjs');

function sbom() {
  const { name, version, license, description, dependencies, optionalDependencies } = readJson('package.json');
  const packages = productionPackages();
  const byPath = new Map(packages.map((entry) => [entry.path, entry]));
  const self = `pkg:npm/${name}@${version}`;
  return {
    $schema: 'http://cyclonedx.org/schema/bom-1.5.schema.json',
    bomFormat: 'CycloneDX',
    specVersion: '1.5',
    version: 1,
    metadata: {
      component: {
        'bom-ref': self,
        type: 'application',
        name,
        version,
        description,
        purl: self,
        licenses: licences(license),
      },
    },
    components: packages.map((entry) => ({
      'bom-ref': reference(entry),
      type: 'library',
      ...nameParts(entry.name),
      version: entry.version,
      scope: entry.optional || entry.devOptional ? 'optional' : 'required',
      purl: purl(entry),
      hashes: entry.integrity.split(' ').map(hash),
      ...(entry.license ? { licenses: licences(entry.license) } : {}),
    })),
    dependencies: [
      { ref: self, dependsOn: references('', { ...dependencies, ...optionalDependencies }, byPath) },
      ...packages.map((entry) => ({
        ref: reference(entry),
        dependsOn: references(
          entry.path,
          { ...entry.dependencies, ...entry.optionalDependencies, ...entry.peerDependencies },
          byPath,
        ),
      })),
    ],
  };
}

/** The same version may be installed in two places; the path tells them apart. */
function reference(entry) {
  return entry.path.lastIndexOf('node_modules/') === 0 ? purl(entry) : `${purl(entry)}#${entry.path}`;
}

function purl({ name, version }) {
  return `pkg:npm/${name.replace('@', '%40')}@${version}`;
}

function nameParts(name) {
  const [scope, rest] = name.split('/');
  return rest === undefined ? { name } : { group: scope, name: rest };
}

function hash(integrity) {
  const [algorithm, value] = integrity.split('-');
  return { alg: algorithm.toUpperCase().replace('SHA', 'SHA-'), content: Buffer.from(value, 'base64').toString('hex') };
}

function licences(expression) {
  return / (OR|AND|WITH) /.test(expression) ? [{ expression }] : [{ license: { id: expression } }];
}

/** Node's own search: beside the package, then outwards. Optional peers that nobody installed are not there. */
function references(fromPath, wanted, byPath) {
  const found = Object.keys(wanted).flatMap((name) => {
    for (let at = fromPath; ; at = at.slice(0, Math.max(0, at.lastIndexOf('/node_modules/')))) {
      const entry = byPath.get(at === '' ? `node_modules/${name}` : `${at}/node_modules/${name}`);
      if (entry !== undefined) return [reference(entry)];
      if (at === '') return [];
    }
  });
  return [...new Set(found)].sort();
}
