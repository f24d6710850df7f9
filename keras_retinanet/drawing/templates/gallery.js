// The gallery: what lies on each picture, filtered by kind, class and score, and sorted.
//
// A row of `truths`: x1, y1, x2, y2, class, ignore, cost. A row of `found`: x1, y1, x2, y2, class,
// score, kind, index of the true box it is about, IoU, cost. Names are put in as text alone.
'use strict';

{
  const data = JSON.parse(document.getElementById('data').textContent);
  const byId = (id) => document.getElementById(id);
  const MISS = 'Miss';
  const IGNORED = 'ignored';
  const KINDS = [...data.kinds.filter((kind) => kind !== IGNORED), MISS];
  // Errors that are about a true box, which so is not missed, though not found.
  const PAGE = 24;  // so many pictures at a time
  const ABOUT = ['Cls', 'Loc', IGNORED];
  const state = {kind: 'all', chosen: -1, threshold: 0, sort: 'cost', truth: true};
  const shots = [...byId('shots').children];
  let order = [];
  let most = PAGE;
  let open = -1;
  const isBest = () => state.threshold === data.best.threshold;

  const make = (tag, text = '', attributes = {}) => {
    const element = document.createElement(tag);
    element.textContent = text;
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    return element;
  };

  /** Says of a picture's boxes from the threshold on what each is; missed ones as TIDE has it. */
  function marksOf({found, truths}) {
    const marks = [];
    const fates = truths.map((row) => (row[5] ? IGNORED : MISS));
    for (const [x1, y1, x2, y2, index, score, kindIndex, about, iou, cost] of found) {
      if (score < state.threshold) break;  // the best come first
      const kind = data.kinds[kindIndex];
      if (about >= 0 && kind === 'correct') fates[about] = 'found';
      if (about >= 0 && ABOUT.includes(kind) && fates[about] === MISS) fates[about] = 'about';
      marks.push({box: [x1, y1, x2, y2], index, score, kind, iou, cost, truth: false});
    }
    truths.forEach(([x1, y1, x2, y2, index, , cost], place) => {
      const kind = fates[place] === MISS ? MISS : fates[place];
      marks.push({box: [x1, y1, x2, y2], index, score: 0, kind, iou: 0, cost, truth: true});
    });
    for (const mark of marks) mark.isAsked = isAsked(mark);
    return marks;
  }

  /** Whether a mark counts for the filters: a detection or a missed box of the kind and class. */
  function isAsked({kind, index, truth}) {
    if (state.chosen >= 0 && index !== state.chosen) return false;
    if (truth && kind !== MISS) return false;
    if (state.kind === 'all') return kind !== IGNORED;
    return state.kind === 'errors' ? kind !== 'correct' && kind !== IGNORED : kind === state.kind;
  }

  const isError = ({kind}) => KINDS.includes(kind) && kind !== 'correct';

  function rectangle(mark) {
    const [x1, y1, x2, y2] = mark.box;
    const element = document.createElementNS('http://www.w3.org/2000/svg', 'rect');
    const isFound = mark.truth && mark.kind !== MISS;
    const color = isFound && mark.kind !== IGNORED ? '#fff' : `var(--kind-${mark.kind})`;
    const set = (name, value) => element.setAttribute(name, value);
    set('x', x1); set('y', y1); set('width', Math.max(x2 - x1, 0)); set('height', Math.max(y2 - y1, 0));
    const width = isError(mark) ? 2.5 : isFound ? 1.2 : 1.8;
    const faded = isFound || mark.isAsked || (mark.kind === IGNORED && state.kind === 'all');
    element.style.cssText = `stroke: ${color}; stroke-width: ${width}px; opacity: ${faded ? 1 : 0.22};`
      + (mark.truth ? 'stroke-dasharray: 5 4;' : '');
    element.dataset.kind = mark.truth && mark.kind !== MISS ? 'truth' : mark.kind;
    return element;
  }

  function draw(svg, marks, describe = null) {
    const drawn = marks.filter((mark) => state.truth || !mark.truth || mark.kind === MISS);
    // Errors on top, what is asked for above all.
    drawn.sort((a, b) => (a.isAsked - b.isAsked) || (isError(a) - isError(b)));
    svg.replaceChildren(...drawn.map((mark) => {
      const element = rectangle(mark);
      if (describe) describe(element, mark);
      return element;
    }));
  }

  const words = (mark) => (mark.truth ? data.classes[mark.index]
    : `${data.classes[mark.index]} ${mark.score.toFixed(2)}`);

  function caption(shot, asked) {
    const kinds = KINDS.map((kind) => [kind, asked.filter((mark) => mark.kind === kind).length]);
    shot.querySelector('.kinds').replaceChildren(...kinds.filter(([, count]) => count).map(([kind, count]) => {
      const part = make('span');
      part.append(make('i', '', {class: 'mark', style: `background: var(--kind-${kind})`}), `${count} ${kind}`);
      return part;
    }));
  }

  /** How each picture ranks under the sort that is chosen; the highest comes first. */
  const RANKS = {
    cost: (marks) => marks.reduce((sum, {cost}) => sum + cost, 0),
    count: (marks) => marks.filter((mark) => state.kind !== 'all' || isError(mark)).length,
    score: (marks) => Math.max(-1, ...marks.map(({score}) => score)),
    low: (marks) => -Math.min(2, ...marks.filter(({truth}) => !truth).map(({score}) => score)),
  };

  function update() {
    const counts = new Map([...KINDS, 'all', 'errors'].map((kind) => [kind, 0]));
    const ranked = [];
    shots.forEach((shot, place) => {
      const marks = marksOf(data.pictures[place]);
      for (const mark of marks) {
        const isCounted = mark.truth ? mark.kind === MISS : mark.kind !== IGNORED;
        if (!isCounted || (state.chosen >= 0 && mark.index !== state.chosen)) continue;
        counts.set(mark.kind, counts.get(mark.kind) + 1);
        if (mark.kind !== 'correct') counts.set('errors', counts.get('errors') + 1);
      }
      const asked = marks.filter(({isAsked}) => isAsked);
      shot.hidden = true;
      if (asked.length || (state.kind === 'all' && state.chosen < 0)) {
        ranked.push({place, shot, marks, asked, rank: (RANKS[state.sort] ?? (() => 0))(asked)});
      }
    });
    const name = ({place}) => data.pictures[place].name;
    ranked.sort((a, b) => (state.sort === 'name' ? name(a).localeCompare(name(b), 'en', {numeric: true})
      : b.rank - a.rank || a.place - b.place));
    order = ranked.map(({place}) => place);
    for (const {shot, marks, asked} of ranked.slice(0, most)) {
      shot.hidden = false;
      draw(shot.querySelector('svg'), marks);
      caption(shot, asked);
    }
    byId('shots').append(...ranked.map(({shot}) => shot));
    byId('more').hidden = ranked.length <= most;
    byId('nothing').hidden = ranked.length > 0;
    for (const chip of byId('kinds').children) {
      const kind = chip.dataset.kind;
      chip.setAttribute('aria-pressed', String(kind === state.kind));
      if (kind !== 'all') chip.lastChild.textContent = counts.get(kind).toLocaleString('en');
    }
    // The best threshold may lie between two steps of the slider.
    byId('threshold-text').textContent = state.threshold.toFixed(isBest() ? 3 : 2);
    byId('count').replaceChildren(make('b', ranked.length), ` of ${shots.length} images`);
    byId('operating').textContent = operating();
  }

  /** The figures of the whole set at the threshold, for the class that is chosen. */
  function operating() {
    const step = Math.round(state.threshold * 100);
    const count = (name) => (index) => (isBest() ? data.best[name][index] : data.points[name][index][step]);
    const chosen = data.classes.map((_, index) => index).filter((i) => state.chosen < 0 || i === state.chosen);
    const sum = (values) => chosen.reduce((total, index) => total + values(index), 0);
    const right = sum(count('right'));
    const wrong = sum(count('wrong'));
    const boxes = sum((index) => data.points.boxes[index]);
    const share = (part, whole) => (whole ? (part / whole).toFixed(3) : '–');
    return `${state.chosen < 0 ? 'whole set' : data.classes[state.chosen]}: precision ${share(right, right + wrong)}, `
      + `recall ${share(right, boxes)}, F1 ${share(2 * right, right + wrong + boxes)} `
      + `(${right.toLocaleString('en')} right, ${wrong.toLocaleString('en')} wrong, ${(boxes - right).toLocaleString('en')} not found)`;
  }

  // ---- a picture looked at closer

  function look(place) {
    const entry = data.pictures[place];
    const [height, width] = entry.size;
    const frame = shots[place].querySelector('.frame').cloneNode(true);
    const svg = frame.querySelector('svg');
    const marks = marksOf(entry);
    const rows = new Map();
    open = place;
    draw(svg, marks, (element, mark) => rows.set(mark, element));
    byId('closer-frame').style.aspectRatio = `${width} / ${height}`;
    byId('closer-frame').replaceChildren(...frame.childNodes);
    if (!byId('closer').open) byId('closer').showModal();
    // 13 pixels of the screen, in those of the picture.
    const letters = 13 * width / byId('closer-frame').clientWidth;
    for (const mark of marks.filter((each) => isError(each) && each.isAsked)) {
      const text = document.createElementNS('http://www.w3.org/2000/svg', 'text');
      text.textContent = words(mark);
      text.setAttribute('x', Math.max(mark.box[0], 2));
      text.setAttribute('y', Math.max(mark.box[1] - letters / 3, letters));
      text.style.cssText = `font-size: ${letters}px; stroke-width: ${letters / 4}px`;
      svg.append(text);
    }
    byId('closer-name').textContent = entry.name;
    const listed = marks.filter((mark) => mark.isAsked);
    listed.sort((a, b) => isError(b) - isError(a) || b.cost - a.cost || b.score - a.score);
    byId('closer-rows').replaceChildren(...listed.map((mark) => {
      const row = make('tr', '', {'data-kind': mark.kind});
      const kind = make('td');
      kind.append(make('i', '', {class: 'mark', style: `background: var(--kind-${mark.kind})`}), mark.kind);
      row.append(kind, make('td', data.classes[mark.index]), make('td', mark.truth ? '–' : mark.score.toFixed(2)),
        make('td', mark.iou ? mark.iou.toFixed(2) : '–'), make('td', mark.cost ? mark.cost.toFixed(4) : '–'));
      const light = (isOn) => rows.get(mark)?.classList.toggle('lit', isOn);
      row.addEventListener('pointerenter', () => light(true));
      row.addEventListener('pointerleave', () => light(false));
      return row;
    }));
  }

  function step(by) {
    const next = order[(order.indexOf(open) + by + order.length) % order.length];
    if (next !== undefined) look(next);
  }

  // ---- controls

  let isDue = false;
  function change(values) {
    Object.assign(state, values);
    most = PAGE;
    if (isDue) return;
    isDue = true;
    requestAnimationFrame(() => { isDue = false; update(); });
  }

  for (const kind of ['all', 'errors', ...KINDS]) {
    const chip = make('button', '', {type: 'button', 'data-kind': kind});
    if (KINDS.includes(kind)) chip.append(make('i', '', {style: `background: var(--kind-${kind})`}));
    chip.append(kind, make('span'));
    chip.addEventListener('click', () => change({kind}));
    byId('kinds').append(chip);
  }
  data.classes.forEach((name, index) => byId('class').append(make('option', name, {value: index})));
  byId('class').addEventListener('change', ({target}) => change({chosen: Number(target.value)}));
  byId('threshold').addEventListener('input', ({target}) => change({threshold: Number(target.value)}));
  byId('sort').addEventListener('change', ({target}) => change({sort: target.value}));
  byId('truth').addEventListener('change', ({target}) => change({truth: target.checked}));
  for (const row of document.querySelectorAll('#costs tr[data-kind]')) {
    row.querySelector('button').addEventListener('click', () => {
      change({kind: row.dataset.kind});
      byId('pictures').scrollIntoView();
    });
  }
  shots.forEach((shot, place) => shot.querySelector('button').addEventListener('click', () => look(place)));
  byId('more').addEventListener('click', () => { most += PAGE; update(); });
  byId('before').addEventListener('click', () => step(-1));
  byId('after').addEventListener('click', () => step(1));
  byId('close').addEventListener('click', () => byId('closer').close());
  byId('closer').addEventListener('keydown', ({key}) => {
    if (key === 'ArrowLeft') step(-1);
    if (key === 'ArrowRight') step(1);
  });
  state.threshold = data.best.threshold;
  update();
}
