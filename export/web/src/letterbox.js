// Picture -> network input, as the exported file's facts ask for it, and boxes back.

// A side times the scale, made whole. Uint8ClampedArray and Python's round take halves to even.
const WHOLE = {
  even: (side) => {
    const floor = Math.floor(side);
    return side - floor === 0.5 ? floor + (floor % 2) : Math.round(side);
  },
  floor: Math.floor,
  half_up: (side) => Math.floor(side + 0.5),
};

/**
 * Returns where a picture lies in the fixed input.
 *
 * @param {{height: number, width: number}} picture in pixels.
 * @param {object} facts of the file.
 * @returns {object} `rows` and `columns` of the resized picture; `height` and `width` of what is
 *     resized, which is the picture, or with pad_first the square of `top` and `left` black
 *     borders around it.
 */
export function placement({height, width}, facts) {
  const [inputHeight, inputWidth] = facts.input.image_size;
  const preprocessing = facts.config.preprocessing;
  if (facts.input.letterbox === 'stretch') {
    return {height, width, top: 0, left: 0, rows: inputHeight, columns: inputWidth};
  }
  if (preprocessing.pad_first) {
    const top = Math.max(0, width - height) >> 1;
    const left = Math.max(0, height - width) >> 1;
    const side = Math.min(inputHeight, inputWidth);
    return {height: height + 2 * top, width: width + 2 * left, top, left, rows: side, columns: side};
  }
  const scale = Math.min(inputHeight / height, inputWidth / width);
  const whole = WHOLE[preprocessing.rounding];
  return {height, width, top: 0, left: 0, rows: Math.max(1, whole(height * scale)),
    columns: Math.max(1, whole(width * scale))};
}

/**
 * Returns the network input [1, H, W, 3] of RGBA pixels.
 *
 * @param {ImageData} pixels of what `placed` resizes, its borders included.
 * @param {object} placed by `placement`.
 * @param {object} facts of the file.
 */
export function letterbox(pixels, placed, facts) {
  const [height, width] = facts.input.image_size;
  const {antialias, resize_method: method} = facts.input.letterbox === 'stretch'
    ? {antialias: false, resize_method: 'float'} : facts.config.preprocessing;
  const smooth = antialias || method === 'pillow';
  const across = taps(placed.width, placed.columns, smooth);
  const down = taps(placed.height, placed.rows, smooth);
  const rows = resizeRows(pixels, across, placed.columns);
  const isWhole = facts.input.dtype === 'uint8';
  // The clamped array rounds what is put in it, halves to even.
  const input = new (isWhole ? Uint8ClampedArray : Float32Array)(height * width * 3);
  for (let i = 0; i < input.length; i += 3) input.set(facts.input.pad_value, i);
  const stride = placed.columns * 3;
  for (let y = 0; y < placed.rows; y += 1) {
    const {first, weights} = down[y];
    for (let x = 0; x < stride; x += 1) {
      let sum = 0;
      for (let tap = 0; tap < weights.length; tap += 1) {
        sum += weights[tap] * rows[(first + tap) * stride + x];
      }
      input[y * width * 3 + x] = method === 'float' ? sum : Math.round(sum);
    }
  }
  return isWhole ? new Uint8Array(input.buffer) : input;
}

/**
 * Returns for each new pixel the first old one and the weights of it and its successors.
 *
 * A triangle of half width 1, pixel centres at halves: bilinear. `smooth` widens it by the scale,
 * so that shrinking averages.
 */
function taps(source, length, smooth) {
  const scale = source / length;
  const support = smooth ? Math.max(scale, 1) : 1;
  return Array.from({length}, (_, index) => {
    const centre = (index + 0.5) * scale;
    const first = Math.max(0, Math.floor(centre - support + 0.5));
    const last = Math.min(source, Math.floor(centre + support + 0.5));
    const weights = [];
    for (let pixel = first; pixel < Math.max(last, first + 1); pixel += 1) {
      weights.push(Math.max(0, 1 - Math.abs(pixel + 0.5 - centre) / support));
    }
    const total = weights.reduce((sum, weight) => sum + weight, 0);
    return {first, weights: weights.map((weight) => weight / total)};
  });
}

function resizeRows({data, width, height}, across, columns) {
  const rows = new Float32Array(height * columns * 3);
  for (let y = 0; y < height; y += 1) {
    for (let x = 0; x < columns; x += 1) {
      const {first, weights} = across[x];
      let [red, green, blue] = [0, 0, 0];
      for (let tap = 0; tap < weights.length; tap += 1) {
        const at = (y * width + first + tap) * 4;
        red += weights[tap] * data[at];
        green += weights[tap] * data[at + 1];
        blue += weights[tap] * data[at + 2];
      }
      rows.set([red, green, blue], (y * columns + x) * 3);
    }
  }
  return rows;
}

/**
 * Returns the detections of one picture, best first.
 *
 * @param {object} outputs typed arrays: boxes ymin,xmin,ymax,xmax in 0..1 of the network input,
 *     classes, scores, num.
 * @param {object} placed by `placement`.
 * @param {{height: number, width: number}} picture in pixels.
 * @param {object} facts of the file.
 * @returns {{box: number[], score: number, label: number}[]} boxes x1,y1,x2,y2 in pixels of the
 *     picture, cut at its border.
 */
export function detections(outputs, placed, picture, facts) {
  const [inputHeight, inputWidth] = facts.input.image_size;
  const y = inputHeight * placed.height / placed.rows;
  const x = inputWidth * placed.width / placed.columns;
  const within = (value, limit) => Math.min(Math.max(value, 0), limit);
  return Array.from({length: Math.round(outputs.num[0])}, (_, index) => {
    const [top, left, bottom, right] = outputs.boxes.subarray(4 * index, 4 * index + 4);
    return {
      box: [
        within(left * x - placed.left, picture.width),
        within(top * y - placed.top, picture.height),
        within(right * x - placed.left, picture.width),
        within(bottom * y - placed.top, picture.height),
      ],
      score: outputs.scores[index],
      label: Math.round(outputs.classes[index]),
    };
  });
}
