// The page: takes a model and pictures, asks the worker, shows what it found.

import {droppedFiles, pickedPictures} from './dropping.js';
import {startOffline} from './isolation.js';
import {boxesOf, classChips, detectionRows, thumbnail} from './views.js';

const element = (id) => document.getElementById(id);
const worker = new Worker('worker.js');
const pending = new Map();
const state = {
  facts: null,
  pictures: [], // {file, url, result, error}, in the order they came
  selected: -1,
  threshold: 0.5,
  hidden: new Set(), // classes
  busy: false,
};

worker.onmessage = ({data: {id, result, error}}) => {
  const {resolve, reject} = pending.get(id);
  pending.delete(id);
  if (error === undefined) resolve(result);
  else reject(new Error(error));
};
worker.onerror = () => say('The worker of this page could not start. Use a newer browser.');

let questions = 0;
function ask(action, argument) {
  questions += 1;
  worker.postMessage({id: questions, action, argument});
  return new Promise((resolve, reject) => pending.set(questions, {resolve, reject}));
}

function say(text) {
  element('message').textContent = text;
  element('message').hidden = !text;
}

// ------------------------------------------------------------------------------------ model

async function useModel(name, bytes) {
  if (state.busy) return say('Wait until the pictures are done, then change the model.');
  setState('loading');
  const size = bytes.byteLength;
  try {
    const {facts, threads} = await ask('loadModel', {bytes});
    state.facts = facts;
    state.hidden.clear();
    say('');
    const [height, width] = facts.input.image_size;
    element('model-name').textContent = name;
    element('model-facts').textContent = [
      `${facts.class_names.length} class${facts.class_names.length === 1 ? '' : 'es'}`,
      `${width} × ${height}`, facts.precision, `${(size / 1e6).toFixed(1)} MB`,
      threads > 1 ? `${threads} threads` : '1 thread',
    ].join(' · ');
    const least = facts.config.detections?.score_threshold ?? 0.05;
    element('threshold').min = least.toFixed(2);
  } catch (error) {
    say(`${name} cannot be used. ${error.message}`);
  }
  for (const picture of state.pictures) picture.result = picture.error = undefined;
  setState(state.facts ? 'ready' : 'no-model');
  await detectWaiting();
}

/** Takes model.tflite from beside the page, if it is there. */
async function useModelBeside() {
  const response = await fetch('model.tflite').catch(() => null);
  if (response?.ok) await useModel('model.tflite', new Uint8Array(await response.arrayBuffer()));
  else setState('no-model');
}

// --------------------------------------------------------------------------------- pictures

async function addFiles(files) {
  const models = files.filter((file) => file.name.toLowerCase().endsWith('.tflite'));
  const pictures = files.filter((file) => !models.includes(file));
  const start = state.pictures.length;
  for (const file of pictures) state.pictures.push({file, url: URL.createObjectURL(file)});
  if (pictures.length) {
    state.selected = start;
    show();
  }
  if (models.length) {
    const file = models.at(-1);
    await useModel(file.name, new Uint8Array(await file.arrayBuffer()));
  } else if (files.length === 0) {
    say('No picture was found in there.');
  } else {
    say('');
    await detectWaiting();
  }
}

async function detectWaiting() {
  if (!state.facts || state.busy) return;
  state.busy = true;
  const isWaiting = (picture) => !picture.result && !picture.error;
  for (let next; (next = state.pictures.find(isWaiting));) {
    try {
      next.result = await ask('detect', {file: next.file});
    } catch (error) {
      next.error = error.message;
    }
    show();
  }
  state.busy = false;
  show();
}

// ----------------------------------------------------------------------------------- showing

function setState(name) {
  document.body.dataset.state = name;
  const words = {
    starting: ['Starting…', ''],
    loading: ['Loading the model…', ''],
    'no-model': ['Drop a model here', 'A .tflite file of keras_retinanet export'],
    ready: ['Drop pictures or a folder here', 'or tap to choose pictures'],
  }[name];
  [element('invitation').textContent, element('hint').textContent] = words;
  if (!state.facts) {
    element('model-name').textContent = name === 'no-model' ? 'Choose a model' : 'Loading…';
  }
  show();
}

function shownOf(result) {
  return (result?.found ?? []).filter(
    ({score, label}) => score >= state.threshold && !state.hidden.has(label));
}

function show() {
  const any = state.pictures.length > 0;
  for (const id of ['figure', 'strip', 'panel']) element(id).hidden = !any;
  element('dropzone').hidden = any;
  if (any) {
    showPicture(state.pictures[state.selected]);
    showStrip();
  }
  showSummary();
}

function showPicture({file, url, result, error}) {
  const names = state.facts?.class_names ?? [];
  const shown = shownOf(result);
  boxesOf(element('canvas'), {url, result, shown, names});
  element('caption').textContent = file.name;
  element('times').textContent = error ?? (result
    ? `${result.width} × ${result.height} · model ${result.runMs.toFixed(0)} ms · `
      + `preparing ${result.prepareMs.toFixed(0)} ms`
    : state.facts ? 'Waiting…' : 'Needs a model');
  element('figure').classList.toggle('failed', Boolean(error));
  classChips(element('classes'), {
    found: (result?.found ?? []).filter(({score}) => score >= state.threshold),
    names, hidden: state.hidden,
    toggle: (label) => {
      if (!state.hidden.delete(label)) state.hidden.add(label);
      show();
    },
  });
  element('list').classList.toggle('known', Boolean(result));
  detectionRows(element('list'), {shown, names, frame: element('canvas')});
}

function showStrip() {
  const strip = element('strip');
  strip.hidden = state.pictures.length < 2;
  state.pictures.forEach((picture, index) => {
    const button = strip.children[index] ?? strip.appendChild(thumbnail(picture.url, () => {
      state.selected = index;
      show();
    }));
    const count = picture.result ? shownOf(picture.result).length : picture.error ? '!' : '…';
    button.querySelector('span').textContent = count;
    button.title = picture.file.name;
    button.setAttribute('aria-label', `${picture.file.name}: ${count} boxes`);
    button.setAttribute('aria-current', index === state.selected);
  });
}

function showSummary() {
  const done = state.pictures.filter(({result, error}) => result || error).length;
  const results = state.pictures.flatMap(({result}) => result ?? []);
  const boxes = results.reduce((sum, result) => sum + shownOf(result).length, 0);
  const times = results.map(({runMs}) => runMs).sort((a, b) => a - b);
  const progress = element('progress');
  progress.hidden = !state.facts || done === state.pictures.length;
  progress.value = done / Math.max(1, state.pictures.length);
  const parts = [];
  const all = state.pictures.length;
  if (all > 1) parts.push(`${done < all ? `${done} of ${all}` : all} pictures`);
  if (results.length) {
    parts.push(`${boxes} box${boxes === 1 ? '' : 'es'}`);
    const median = times[Math.floor(times.length / 2)].toFixed(0);
    parts.push(times.length > 1 ? `median ${median} ms` : `${median} ms`);
  }
  const summary = element('summary');
  summary.textContent = parts.join(' · ');
  Object.assign(summary.dataset, {boxes, done, pictures: state.pictures.length});
}

// ------------------------------------------------------------------------------------ events

function connect() {
  const pick = (button, input, chosen) => {
    element(button).addEventListener('click', () => element(input).click());
    element(input).addEventListener('change', async ({target}) => {
      const files = chosen(target.files);
      target.value = ''; // so that the same file can be chosen again
      await addFiles(files);
    });
  };
  pick('pick-model', 'model-input', (files) => [...files]);
  pick('pick-pictures', 'pictures-input', (files) => [...files]);
  pick('pick-folder', 'folder-input', pickedPictures);
  element('pick-folder').hidden = !('webkitdirectory' in element('folder-input'));
  element('dropzone').addEventListener('click', () => {
    element(state.facts ? 'pictures-input' : 'model-input').click();
  });
  element('threshold').addEventListener('input', ({target}) => {
    state.threshold = Number(target.value);
    element('threshold-value').textContent = state.threshold.toFixed(2);
    show();
  });
  addEventListener('dragover', (event) => {
    event.preventDefault();
    document.body.classList.add('dragging');
  });
  addEventListener('dragleave', (event) => {
    if (!event.relatedTarget) document.body.classList.remove('dragging');
  });
  addEventListener('drop', async (event) => {
    event.preventDefault();
    document.body.classList.remove('dragging');
    await addFiles(await droppedFiles(event.dataTransfer));
  });
  addEventListener('keydown', ({key, target}) => {
    const step = {ArrowLeft: -1, ArrowRight: 1}[key];
    const next = state.selected + step;
    if (!step || target.matches('input') || !state.pictures[next]) return;
    state.selected = next;
    show();
    element('strip').children[next]?.scrollIntoView({block: 'nearest', inline: 'nearest'});
  });
}

connect();
setState('starting');
if (await startOffline()) await useModelBeside();
