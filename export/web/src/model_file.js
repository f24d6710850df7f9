// What a TFLite file says of itself: the zip archive that TFLite metadata appends to it.

const END = 0x06054b50; // "end of central directory"
const ENTRY = 0x02014b50;
const END_BYTES = 22;
const MAX_COMMENT = 65535;
const DEFLATED = 8;
const EXPORT_FORMAT = 1;
const FORMS = ['nms', 'mediapipe'];

/**
 * Returns name -> bytes of the files appended to a TFLite file.
 *
 * @param {Uint8Array} bytes the whole file.
 * @returns {Promise<{files: Map<string, Uint8Array>, start: number}>} no files if nothing is
 *     appended; `start`: where the archive begins.
 */
export async function attachedFiles(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const end = findEnd(view);
  const files = new Map();
  if (end === null) return {files, start: bytes.byteLength};
  const directoryBytes = view.getUint32(end + 12, true);
  // Offsets count from where the archive's writer thought it began: from the file's start, or
  // from the archive's own. The directory lies right before its end record in both.
  const shift = end - directoryBytes - view.getUint32(end + 16, true);
  let at = end - directoryBytes;
  let first = at;
  for (let left = view.getUint16(end + 10, true); left > 0; left -= 1) {
    if (view.getUint32(at, true) !== ENTRY) throw new Error('Its attached archive is damaged.');
    const [nameBytes, extraBytes, commentBytes] =
      [28, 30, 32].map((offset) => view.getUint16(at + offset, true));
    const name = new TextDecoder().decode(bytes.subarray(at + 46, at + 46 + nameBytes));
    const local = view.getUint32(at + 42, true) + shift;
    first = Math.min(first, local);
    const start = local + 30 + view.getUint16(local + 26, true) + view.getUint16(local + 28, true);
    const content = bytes.subarray(start, start + view.getUint32(at + 20, true));
    files.set(name, view.getUint16(at + 10, true) === DEFLATED ? await inflate(content) : content);
    at += 46 + nameBytes + extraBytes + commentBytes;
  }
  return {files, start: first};
}

function findEnd(view) {
  const last = view.byteLength - END_BYTES;
  for (let at = last; at >= Math.max(0, last - MAX_COMMENT); at -= 1) {
    if (view.getUint32(at, true) === END) return at;
  }
  return null;
}

async function inflate(bytes) {
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream('deflate-raw'));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

/**
 * Returns the facts of a file that this page can run: model.json, with labels.txt as its names.
 *
 * @param {Uint8Array} bytes the whole TFLite file.
 * @throws {Error} if it is no TFLite file, has no facts, or none that this page understands.
 */
export async function readFacts(bytes) {
  if (String.fromCharCode(...bytes.subarray(4, 8)) !== 'TFL3') {
    throw new Error('It is no TFLite file.');
  }
  const {files, start} = await attachedFiles(bytes);
  const text = (name) => new TextDecoder().decode(files.get(name));
  if (!files.has('model.json')) {
    throw new Error('It has no model.json inside. Write it with keras_retinanet export.');
  }
  const facts = JSON.parse(text('model.json'));
  // The runtime crashes on damaged files. Digests are there over https and on localhost.
  if (facts.flatbuffer_sha256 && crypto.subtle) {
    const digest = await crypto.subtle.digest('SHA-256', bytes.subarray(0, start));
    const hexadecimal = [...new Uint8Array(digest)].map((b) => b.toString(16).padStart(2, '0'));
    if (hexadecimal.join('') !== facts.flatbuffer_sha256) throw new Error('It is damaged.');
  }
  if (facts.export_format > EXPORT_FORMAT) {
    throw new Error('A newer keras_retinanet wrote it. Build this page from that version.');
  }
  if (!FORMS.includes(facts.form)) {
    throw new Error(`Its form is "${facts.form}". This page runs ${FORMS.join(' and ')}.`);
  }
  if (files.has('labels.txt')) {
    facts.class_names = text('labels.txt').split('\n').slice(0, facts.class_names.length);
  }
  return facts;
}
