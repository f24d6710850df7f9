// Decodes pictures and runs the model, off the page's thread so that the page stays quick.

import {loadAndCompile, loadLiteRt, Tensor} from '@litertjs/core';

import {detections, letterbox, placement} from './letterbox.js';
import {readFacts} from './model_file.js';

// Safari refuses larger canvases; such a picture is shrunk while it is decoded.
const MAX_PIXELS = 16_000_000;

let runtime = null;
let model = null;
let facts = null;

/** Starts LiteRT once, with threads where the browser isolates the page. */
function startRuntime() {
  const threads = self.crossOriginIsolated;
  const folder = new URL('wasm/', self.location.href).href;
  const name = threads ? 'litert_wasm_threaded_internal.js' : 'litert_wasm_internal.js';
  // Inside a worker the runtime cannot find its own script, which its threads must load.
  self.Module = {
    mainScriptUrlOrBlob: folder + name,
    locateFile: (file) => folder + file,
    print: () => {},
    printErr: () => {},
  };
  return loadLiteRt(folder, {threads});
}

async function loadModel({bytes}) {
  const read = await readFacts(bytes);
  runtime ??= startRuntime();
  await runtime;
  const compiled = await loadAndCompile(bytes, {accelerator: 'wasm'});
  model?.delete();
  [model, facts] = [compiled, read];
  // The first run lays out memory; it must not spoil the first picture's time.
  const [height, width] = facts.input.image_size;
  await run(facts.input.dtype === 'uint8'
    ? new Uint8Array(height * width * 3) : new Float32Array(height * width * 3));
  return {facts, threads: self.crossOriginIsolated ? navigator.hardwareConcurrency : 1};
}

async function run(values) {
  const [height, width] = facts.input.image_size;
  const input = new Tensor(values, [1, height, width, 3]);
  const tensors = await model.run({[model.getInputDetails()[0].name]: input});
  input.delete();
  const outputs = {};
  for (const [name, tensor] of Object.entries(tensors)) {
    outputs[name] = (await tensor.data()).slice();
    tensor.delete();
  }
  return outputs;
}

async function detect({file}) {
  const started = performance.now();
  const {pixels, placed, size} = await decode(file);
  const values = letterbox(pixels, placed, facts);
  const prepared = performance.now();
  const outputs = await run(values);
  const finished = performance.now();
  return {
    ...size,
    found: detections(outputs, placed, size, facts),
    prepareMs: prepared - started,
    runMs: finished - prepared,
  };
}

/** Returns the pixels of a file, turned upright as its EXIF says, colours as stored. */
async function decode(file) {
  const bitmap = await createImageBitmap(file, {colorSpaceConversion: 'none'}).catch(() => {
    throw new Error('It cannot be read as a picture.');
  });
  const shrink = Math.min(1, Math.sqrt(MAX_PIXELS / (bitmap.width * bitmap.height)));
  const size = {
    width: Math.max(1, Math.floor(bitmap.width * shrink)),
    height: Math.max(1, Math.floor(bitmap.height * shrink)),
  };
  const placed = placement(size, facts);
  const canvas = new OffscreenCanvas(placed.width, placed.height);
  const context = canvas.getContext('2d', {willReadFrequently: true});
  context.fillRect(0, 0, canvas.width, canvas.height); // black, for pad_first
  context.drawImage(bitmap, placed.left, placed.top, size.width, size.height);
  bitmap.close();
  const pixels = context.getImageData(0, 0, canvas.width, canvas.height);
  return {pixels, placed, size};
}

const ACTIONS = {loadModel, detect};

self.onmessage = async ({data: {id, action, argument}}) => {
  try {
    self.postMessage({id, result: await ACTIONS[action](argument)});
  } catch (error) {
    self.postMessage({id, error: error.message || String(error)});
  }
};
