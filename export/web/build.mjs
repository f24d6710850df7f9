// Writes the whole site to dist/: two scripts, the page, and the runtime's WebAssembly files.

import {cp, mkdir, rm} from 'node:fs/promises';
import {createRequire} from 'node:module';
import path from 'node:path';
import {fileURLToPath} from 'node:url';

import {build} from 'esbuild';

const here = path.dirname(fileURLToPath(import.meta.url));
const dist = path.join(here, 'dist');
const runtime = path.join(
  path.dirname(createRequire(import.meta.url).resolve('@litertjs/core')), '..', 'wasm');
// The fourth, "jspi", serves WebGPU and WebNN, which this page does not ask for.
const VARIANTS = ['litert_wasm_internal', 'litert_wasm_threaded_internal',
  'litert_wasm_compat_internal'];

await rm(path.join(dist, 'wasm'), {recursive: true, force: true});
await mkdir(path.join(dist, 'wasm'), {recursive: true});
const shared = {bundle: true, minify: true, target: 'es2022', legalComments: 'eof'};
await build({...shared, entryPoints: [path.join(here, 'src', 'app.js')],
  format: 'esm', outfile: path.join(dist, 'app.js')});
// A classic script: the runtime loads itself by importScripts, which modules lack.
await build({...shared, entryPoints: [path.join(here, 'src', 'worker.js')],
  format: 'iife', outfile: path.join(dist, 'worker.js')});
for (const name of ['index.html', 'style.css', 'offline.js', 'icon.svg']) {
  await cp(path.join(here, 'src', name), path.join(dist, name));
}
for (const name of VARIANTS.flatMap((variant) => [`${variant}.js`, `${variant}.wasm`])) {
  await cp(path.join(runtime, name), path.join(dist, 'wasm', name));
}
console.log('Built dist/. Put model.tflite in it, or drop a model on the page.');
