// The review: one finding at a time, decided by a key; decisions are saved as a file.
//
// Names are put in as text alone. Decisions stay in the browser until they are saved.
'use strict';

if (document.getElementById('stage')) {
  const data = JSON.parse(document.getElementById('data').textContent);
  const byId = (id) => document.getElementById(id);
  const KEY = `keras_retinanet-review-${data.key}`;
  const SVG = 'http://www.w3.org/2000/svg';
  const state = {kind: 'all', at: 0};
  const decisions = load();
  const tiles = data.findings.map(tile);

  /** Returns the decisions that this browser has kept, one for each finding. */
  function load() {
    const none = data.findings.map(() => null);
    try {
      const kept = JSON.parse(localStorage.getItem(KEY) || '[]');
      return none.map((_, place) => (['accept', 'reject'].includes(kept[place]) ? kept[place] : null));
    } catch {  // no storage is allowed, or another page has written there
      return none;
    }
  }

  function keep() {
    try {
      localStorage.setItem(KEY, JSON.stringify(decisions));
    } catch {  // then they are in this tab alone, until they are saved
    }
  }

  function make(tag, text = '', attributes = {}) {
    const element = document.createElement(tag);
    element.textContent = text;
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    return element;
  }

  function rectangle([x1, y1, x2, y2], style, color) {
    const element = document.createElementNS(SVG, 'rect');
    const values = {x: x1, y: y1, width: x2 - x1, height: y2 - y1, stroke: color, ...style};
    for (const [name, value] of Object.entries(values)) element.setAttribute(name, value);
    return element;
  }

  /** Fills a frame with the image around a finding, and with the boxes there. */
  function draw(frame, finding, width) {
    if (!finding.uri) {
      frame.replaceChildren(make('span', 'cannot be read', {class: 'blank'}));
      return;
    }
    const [x1, y1, x2, y2] = finding.crop;
    const svg = document.createElementNS(SVG, 'svg');
    svg.setAttribute('viewBox', `${x1} ${y1} ${x2 - x1} ${y2 - y1}`);
    const color = `var(--kind-${finding.kind})`;
    for (const box of finding.others) svg.append(rectangle(box, {'stroke-width': 1, opacity: 0.75}, '#fff'));
    const dashes = {'stroke-width': width, 'stroke-dasharray': '7 5'};
    if (finding.label) {
      svg.append(rectangle(finding.label.box, {'stroke-width': width + 1, opacity: 0.7}, '#000'));
      svg.append(rectangle(finding.label.box, dashes, finding.proposal ? '#fff' : color));
    }
    if (finding.proposal) svg.append(rectangle(finding.proposal.box, {'stroke-width': width}, color));
    frame.replaceChildren(make('img', '', {src: finding.uri, alt: '', loading: 'lazy'}), svg);
  }

  function tile(finding, place) {
    const button = make('button', '', {type: 'button', 'aria-label': `finding ${place + 1}: ${finding.kind}`});
    const frame = make('span', '', {class: 'frame'});
    draw(frame, finding, 2);
    button.append(frame, make('b', finding.kind));
    button.addEventListener('click', () => show(place));
    byId('strip').append(button);
    return button;
  }

  /** Says in a sentence what accepting does. */
  function change({kind, label, proposal}) {
    if (kind === 'missing') return `add a box of ${proposal.class}`;
    if (kind === 'class') return `${label.class} becomes ${proposal.class}`;
    if (kind === 'loose') return `the box of ${label.class} becomes the model's`;
    return `remove the box of ${label.class}`;
  }

  function show(place) {
    state.at = place;
    const finding = data.findings[place];
    draw(document.querySelector('#stage .frame'), finding, 3);
    byId('what').textContent = `${finding.kind}: ${data.kinds[finding.kind]}`;
    const rows = {
      image: finding.image, split: finding.split, label: finding.label?.class ?? 'none',
      'model sees': finding.proposal?.class ?? (finding.kind === 'double' ? 'one object' : 'nothing'),
      accept: change(finding),
      sure: finding.sure.toFixed(2), 'costs AP': finding.cost.toFixed(4),
    };
    const cells = Object.entries(rows).flatMap(([name, text]) => [make('dt', name), make('dd', text)]);
    byId('about').replaceChildren(...cells);
    refresh();
  }

  function refresh() {
    for (const [place, button] of tiles.entries()) {
      button.hidden = !isAsked(place);
      button.dataset.decision = decisions[place] ?? '';
      button.setAttribute('aria-current', String(place === state.at));
    }
    for (const word of ['accept', 'reject']) {
      byId(word).setAttribute('aria-pressed', String(decisions[state.at] === word));
    }
    const count = (word) => decisions.filter((each) => each === word).length;
    byId('count').textContent = `finding ${state.at + 1} of ${tiles.length}: `
      + `${count('accept')} accepted, ${count('reject')} rejected, ${count(null)} undecided`;
  }

  const isAsked = (place) => state.kind === 'all' || data.findings[place].kind === state.kind;

  /** Shows the nearest finding of the chosen kind, forward or back; stays if there is none. */
  function step(way) {
    for (let place = state.at + way; place >= 0 && place < tiles.length; place += way) {
      if (isAsked(place)) return show(place);
    }
    refresh();
  }

  function decide(word) {
    decisions[state.at] = word;
    keep();
    if (word) step(1);
    else refresh();
  }

  function save() {
    const findings = data.findings.map(({uri, crop, others, ...finding}, place) => (
      {...finding, decision: decisions[place]}
    ));
    const text = JSON.stringify({review: data.review, data: data.data, findings}, null, 1);
    const address = URL.createObjectURL(new Blob([text], {type: 'application/json'}));
    make('a', '', {href: address, download: 'decisions.json'}).click();
    setTimeout(() => URL.revokeObjectURL(address), 60000);
  }

  const actions = {
    a: () => decide('accept'), r: () => decide('reject'), u: () => decide(null),
    arrowleft: () => step(-1), arrowright: () => step(1),
  };
  document.addEventListener('keydown', (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const action = actions[event.key.toLowerCase()];
    if (!action) return;
    event.preventDefault();
    action();
  });
  const buttons = {accept: 'a', reject: 'r', clear: 'u', previous: 'arrowleft', next: 'arrowright'};
  for (const [id, key] of Object.entries(buttons)) byId(id).addEventListener('click', actions[key]);
  byId('save').addEventListener('click', save);
  for (const chip of document.querySelectorAll('#kinds button')) {
    chip.addEventListener('click', () => {
      state.kind = chip.dataset.kind;
      for (const other of document.querySelectorAll('#kinds button')) {
        other.setAttribute('aria-pressed', String(other === chip));
      }
      const first = tiles.findIndex((_, place) => isAsked(place));
      if (isAsked(state.at) || first < 0) refresh();
      else show(first);
    });
  }
  show(0);
}
