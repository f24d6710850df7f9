// Pieces of the page, each built into the element it is given.

import {colorStyle} from './colors.js';

function make(tag, properties = {}, children = []) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

const nameOf = (names, label) => names[label] ?? `class ${label}`;

/** Shows a picture with boxes over it, each placed in percent so that it scales with the picture. */
export function boxesOf(frame, {url, result, shown, names}) {
  let image = frame.querySelector('img');
  if (image?.getAttribute('src') !== url) {
    image = make('img', {src: url, alt: ''});
    frame.removeAttribute('style');
    image.onload = () => frame.style.setProperty('--ratio', image.naturalWidth / image.naturalHeight);
  }
  const boxes = [...shown].reverse().map(({box: [x1, y1, x2, y2], score, label}) => {
    const [left, right] = [x1, x2].map((x) => 100 * x / result.width);
    const [top, bottom] = [y1, y2].map((y) => 100 * y / result.height);
    const made = make('div', {className: 'box'}, [
      make('span', {textContent: `${nameOf(names, label)} ${score.toFixed(2)}`}),
    ]);
    made.style.cssText = `${colorStyle(label)}; left: ${left}%; top: ${top}%; `
      + `width: ${right - left}%; height: ${bottom - top}%`;
    made.classList.toggle('label-inside', top < 6);
    // Grows towards the middle, so that the picture's border cuts no label.
    made.classList.toggle('label-right', left + right > 120);
    return made;
  });
  frame.replaceChildren(image, ...boxes);
}

/** Shows one button a class that was found, with its count; pressed ones are hidden. */
export function classChips(place, {found, names, hidden, toggle}) {
  const counts = new Map([...hidden].map((label) => [label, 0]));
  for (const {label} of found) counts.set(label, (counts.get(label) ?? 0) + 1);
  place.replaceChildren(...[...counts].sort(([a], [b]) => a - b).map(([label, count]) => {
    const chip = make('button', {type: 'button', onclick: () => toggle(label)}, [
      make('i'), nameOf(names, label), make('b', {textContent: count}),
    ]);
    chip.style.cssText = colorStyle(label);
    chip.setAttribute('aria-pressed', !hidden.has(label));
    return chip;
  }));
}

/** Lists detections, best first; the box of the row under the pointer stands out. */
export function detectionRows(place, {shown, names, frame}) {
  const boxes = [...frame.querySelectorAll('.box')].reverse();
  place.replaceChildren(...shown.map(({score, label}, index) => {
    const bar = make('div', {className: 'score'}, [make('div')]);
    bar.firstChild.style.width = `${100 * score}%`;
    const row = make('li', {}, [
      make('i'), make('span', {textContent: nameOf(names, label)}),
      bar, make('b', {textContent: score.toFixed(2)}),
    ]);
    row.style.cssText = colorStyle(label);
    const mark = (isMarked) => {
      frame.classList.toggle('marking', isMarked);
      boxes[index].classList.toggle('marked', isMarked);
    };
    row.onpointerenter = () => mark(true);
    row.onpointerleave = () => mark(false);
    return row;
  }));
}

/** Returns a button with a small copy of a picture and room for its count. */
export function thumbnail(url, select) {
  const image = make('img', {src: url, alt: '', loading: 'lazy', decoding: 'async'});
  image.onerror = () => image.remove();
  return make('button', {type: 'button', onclick: select}, [image, make('span')]);
}
