// Opens the built page in a headless browser as test_web.py asks, and prints what it shows, as JSON.
//
// usage: node web_page.mjs '{"modules", "browser", "url", "steps": [[name, argument], ...]}'

import {createRequire} from 'node:module';

const plan = JSON.parse(process.argv[2]);
const {chromium} = createRequire(plan.modules)('playwright-core');
const PATIENCE = 60_000;

/** Drops files or folders of this machine as a person does: by the browser's own drag events. */
async function drop(page, files) {
  const devtools = await page.context().newCDPSession(page);
  const data = {items: [], files, dragOperationsMask: 1};
  for (const type of ['dragEnter', 'dragOver', 'drop']) {
    await devtools.send('Input.dispatchDragEvent', {type, x: 300, y: 300, data});
  }
}

const STEPS = {
  open: async (page) => {
    await page.goto(plan.url);
    await page.waitForSelector('body[data-state="ready"], body[data-state="no-model"]',
      {timeout: PATIENCE});
  },
  drop,
  done: (page, pictures) => page.waitForSelector(
    `#summary[data-done="${pictures}"][data-pictures="${pictures}"]`,
    {timeout: PATIENCE, state: 'attached'}),
  // Waits for the state that a dropped model leads to.
  state: (page, name) => page.waitForSelector(`body[data-state="${name}"]`, {timeout: PATIENCE}),
  message: (page, part) => page.locator('#message', {hasText: part}).waitFor({timeout: PATIENCE}),
  threshold: (page, value) => page.locator('#threshold').evaluate((input, wanted) => {
    input.value = wanted;
    input.dispatchEvent(new Event('input'));
  }, String(value)),
  size: (page, [width, height]) => page.setViewportSize({width, height}),
  select: (page, index) => page.locator('#strip button').nth(index).click(),
  click: (page, selector) => page.locator(selector).first().click(),
  offline: (page) => page.context().setOffline(true),
  dark: (page) => page.emulateMedia({colorScheme: 'dark'}),
  screenshot: (page, path) => page.screenshot({path, fullPage: true}),
};

/** Returns what a person reads off the page. */
function read(page) {
  return page.evaluate(() => ({
    state: document.body.dataset.state,
    model: document.getElementById('model-name').textContent,
    facts: document.getElementById('model-facts').textContent,
    message: document.getElementById('message').textContent,
    summary: document.getElementById('summary').textContent,
    times: document.getElementById('times').textContent,
    boxes: [...document.querySelectorAll('.box')].map(({style}) =>
      [style.left, style.top, style.width, style.height].map(parseFloat)),
    labels: [...document.querySelectorAll('.box span')].map(({textContent}) => textContent),
    rows: document.querySelectorAll('#list li').length,
    counts: [...document.querySelectorAll('#strip button span')].map((s) => s.textContent),
    wide: document.documentElement.scrollWidth > innerWidth,
    isolated: crossOriginIsolated,
  }));
}

const browser = await chromium.launch({executablePath: plan.browser, args: ['--no-sandbox']});
const problems = [];
const foreign = [];
try {
  const page = await browser.newPage({viewport: {width: 1280, height: 860}});
  page.on('pageerror', (error) => problems.push(String(error)));
  page.on('console', (message) => {
    // The page asks once for a model.tflite beside it, which need not be there.
    const isExpected = message.location().url.endsWith('/model.tflite');
    if (message.type() === 'error' && !isExpected) problems.push(message.text());
  });
  page.on('request', (request) => {
    const {protocol, origin} = new URL(request.url());
    const own = protocol === 'blob:' || protocol === 'data:' || origin === new URL(plan.url).origin;
    if (!own) foreign.push(request.url());
  });
  const readings = [];
  for (const [name, argument] of plan.steps) {
    if (name === 'read') readings.push(await read(page));
    else await STEPS[name](page, argument);
  }
  console.log(JSON.stringify({readings, problems, foreign}));
} finally {
  await browser.close();
}
