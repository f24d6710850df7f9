// One colour a class: the same as in the pictures that `keras_retinanet predict` draws.

const HUE_STEP = (Math.sqrt(5) - 1) / 2;
const TONES = [[0.85, 1.0], [0.6, 1.0], [0.9, 0.8]];

/** Returns the colour of class `index` as [red, green, blue], 0..255. */
export function classColor(index) {
  const [saturation, value] = TONES[index % TONES.length];
  const hue = (index * HUE_STEP) % 1;
  return [5, 3, 1].map((channel) => {
    const along = (channel + hue * 6) % 6;
    const share = Math.max(0, Math.min(along, 4 - along, 1));
    return Math.round(255 * value * (1 - saturation * share));
  });
}

/** Returns black or white, whichever reads better on `color` (WCAG 2 luminance). */
export function textColor(color) {
  const [red, green, blue] = color.map((channel) => {
    const share = channel / 255;
    return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue > 0.25 ? '#000' : '#fff';
}

/** Returns the CSS variables of class `index`. */
export function colorStyle(index) {
  const color = classColor(index);
  return `--color: rgb(${color.join(' ')}); --on-color: ${textColor(color)}`;
}
