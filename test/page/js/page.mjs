// Gives files to the page that checks receipts and reads what it says, as a
// person would: node page.mjs BROWSER URL FILES [PICTURES]
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { pathToFileURL } from 'node:url';
import { chromium } from 'playwright-core';

const [, , executablePath, url, dir, pictures] = process.argv;
const file = (name) => join(dir, name);
const patience = 60000; // ms; a loaded machine with two cores

let browser;
before(async () => {
  browser = await chromium.launch({
    executablePath,
    args: ['--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run',
      '--disable-background-networking', '--disable-component-update', '--disable-sync'],
  });
});
after(() => browser.close());

// visit opens the page and fails the test if it asks for anything, or if the
// browser reports a mistake.
async function visit(t, { at = url, width = 900, colorScheme = 'light' } = {}) {
  const context = await browser.newContext({ viewport: { width, height: 800 }, colorScheme });
  t.after(() => context.close());
  const page = await context.newPage();
  page.setDefaultTimeout(patience);
  const wrong = [];
  page.on('pageerror', (e) => wrong.push(String(e)));
  page.on('console', (m) => { if (['error', 'warning'].includes(m.type())) wrong.push(m.text()); });
  page.on('request', (r) => { if (!/^(blob|data):/.test(r.url()) && r.url() !== page.start) wrong.push('request ' + r.url()); });
  page.start = at.startsWith('http') ? at + '/' : at;
  await page.goto(at);
  page.wrong = wrong;
  return page;
}

// give chooses files and returns the verdict.
async function give(page, ...names) {
  const before = await page.locator('#out').getAttribute('data-turn');
  await page.setInputFiles('#pick', names.map((n) => (n.startsWith('/') ? n : file(n))));
  return verdict(page, before);
}

async function verdict(page, before) {
  await page.waitForFunction((before) => {
    const out = document.getElementById('out');
    return out.dataset.turn !== (before ?? undefined) && out.querySelector('.verdict');
  }, before);
  return page.evaluate(() => ({
    status: document.querySelector('.verdict').className.replace('verdict ', ''),
    title: document.querySelector('.verdict h1').textContent,
    why: document.querySelector('.verdict p').textContent,
    all: document.querySelector('#out').innerText,
    again: !document.getElementById('again').hidden,
  }));
}

async function picture(page, name) {
  if (pictures) await page.screenshot({ path: join(pictures, name + '.png'), fullPage: true });
}

test('before any file', async (t) => {
  const page = await visit(t);
  await picture(page, 'start');
  assert.equal(await page.locator('h1').first().textContent(), 'Check an AI’s answer');
  assert.ok(await page.locator('#again').isHidden());
  assert.deepEqual(page.wrong, []);
});

test('a signed receipt', async (t) => {
  const page = await visit(t);
  const begin = performance.now();
  const got = await give(page, 'signed.aval');
  t.diagnostic(`checked after ${Math.round(performance.now() - begin)} ms, the start of the program included`);
  assert.equal(got.status, 'partly', got.all);
  assert.equal(got.title, 'Signed and unchanged, but not computed again');
  assert.match(got.all, /Why is the sky blue\?/);
  assert.match(got.all, /Because air scatters blue light/);
  assert.match(got.all, /tried several and kept the answer they liked/);
  assert.match(got.all, /What a receipt does not show/);
  assert.ok(got.again, 'the page does not offer to compute the answer');
  await picture(page, 'signed');

  const times = [];
  for (let i = 0; i < 5; i++) {
    const begin = performance.now();
    await give(page, 'signed.aval');
    times.push(Math.round(performance.now() - begin));
  }
  t.diagnostic(`checked again after ${times} ms`);
  assert.deepEqual(page.wrong, []);
});

test('dropped on the page', async (t) => {
  const page = await visit(t);
  const data = await page.evaluateHandle(async () => {
    const d = new DataTransfer();
    d.items.add(new File(['this is no receipt'], 'dropped.aval'));
    return d;
  });
  await page.dispatchEvent('body', 'dragover', { dataTransfer: data });
  await page.dispatchEvent('body', 'drop', { dataTransfer: data });
  assert.equal((await verdict(page, null)).title, 'Not a readable receipt');
  assert.deepEqual(page.wrong, []);
});

test('with the keyboard alone', async (t) => {
  const page = await visit(t);
  await page.keyboard.press('Tab');
  assert.equal(await page.evaluate(() => document.activeElement.id), 'pick');
  const chooser = page.waitForEvent('filechooser');
  await page.evaluate(() => 0); // by now the browser knows that we wait
  await page.keyboard.press('Enter');
  await (await chooser).setFiles(file('signed.aval'));
  assert.equal((await verdict(page, null)).status, 'partly');
  assert.equal(await page.evaluate(() => document.activeElement.parentElement.className), 'verdict partly');
});

test('one file after another', async (t) => {
  const page = await visit(t);
  for (const [name, status, title, why, again] of [
    ['hidden.aval', 'partly', /not computed again/, /hides what it would take/, false],
    ['bare.aval', 'partly', /not computed again/, /hides what it would take/, false],
    ['exchanged.aval', 'invalid', /^Not valid$/, /answer shown is not the one that was signed/, false],
    ['forged.aval', 'invalid', /^Not valid$/, /signature does not fit/, false],
    ['cut.aval', 'unchecked', /^Not a readable receipt$/, /not a receipt, or it is damaged/, false],
    ['garbage.aval', 'unchecked', /^Not a readable receipt$/, /not a receipt, or it is damaged/, false],
    ['empty.aval', 'unchecked', /^Not a readable receipt$/, /not a receipt, or it is damaged/, false],
    ['huge.aval', 'unchecked', /^Not a readable receipt$/, /not a receipt, or it is damaged/, false],
    ['nested.aval', 'unchecked', /^Not a readable receipt$/, /not a receipt, or it is damaged/, false],
    ['script.aval', 'partly', /not computed again/, /signed/, true],
    ['long.aval', 'partly', /not computed again/, /signed/, true],
  ]) {
    const got = await give(page, name);
    assert.deepEqual([name, got.status, got.again], [name, status, again], got.all);
    assert.match(got.title, title, name);
    assert.match(got.why, why, name);
    assert.equal(await page.locator('.verdict').count(), 1, name);
    assert.equal(await page.locator('#out script, #out img, #out h1:not(.verdict > h1)').count(), 0, name);
    assert.doesNotMatch(await page.title(), /hacked/, name);
    assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), name + ': the page scrolls sideways');
    await picture(page, name.replace('.aval', ''));
  }
  assert.deepEqual(page.wrong, []);
});

test('the report is saved', async (t) => {
  const page = await visit(t);
  await give(page, 'script.aval');
  const download = page.waitForEvent('download');
  await page.click('#save');
  const saved = await download;
  assert.equal(saved.suggestedFilename(), 'script.html');
  const copy = file('saved.html');
  await saved.saveAs(copy);
  const alone = await visit(t, { at: pathToFileURL(copy).href, width: 390, colorScheme: 'dark' });
  assert.match(await alone.locator('.verdict h1').textContent(), /Signed and unchanged/);
  assert.doesNotMatch(await alone.title(), /hacked/);
  await picture(alone, 'saved-phone-dark');
  assert.deepEqual([...page.wrong, ...alone.wrong], []);
});

test('on a phone, in the dark', async (t) => {
  const page = await visit(t, { width: 360, colorScheme: 'dark' });
  await picture(page, 'start-phone-dark');
  await give(page, 'signed.aval');
  assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), 'the page scrolls sideways');
  await picture(page, 'signed-phone-dark');
});

test('from a folder, without a server', async (t) => {
  const page = await visit(t, { at: pathToFileURL(file('verify.html')).href });
  assert.equal((await give(page, 'signed.aval')).status, 'partly');
  assert.deepEqual(page.wrong, []);
});

test('nothing leaves the page', async (t) => {
  const page = await visit(t);
  await give(page, 'signed.aval');
  const leaks = await page.evaluate(async (url) => {
    const ways = {
      fetch: () => fetch(url + '/leak'),
      request: () => new Promise((ok, no) => { const x = new XMLHttpRequest(); x.onload = ok; x.onerror = no; x.open('GET', url + '/leak'); x.send(); }),
      image: () => new Promise((ok, no) => { const i = new Image(); i.onload = ok; i.onerror = no; i.src = url + '/leak'; }),
      script: () => new Promise((ok, no) => { const s = document.createElement('script'); s.onload = ok; s.onerror = no; s.src = url + '/leak'; document.head.append(s); }),
      socket: () => new Promise((ok, no) => { const s = new WebSocket(url.replace('http', 'ws') + '/leak'); s.onopen = ok; s.onerror = no; }),
      worker: () => new Promise((ok, no) => { const w = new Worker(url + '/leak'); w.onmessage = ok; w.onerror = no; }),
      frame: () => new Promise((ok, no) => { document.addEventListener('securitypolicyviolation', no, { once: true }); const f = document.createElement('iframe'); f.src = url + '/leak'; document.body.append(f); }),
    };
    const open = [];
    for (const [name, way] of Object.entries(ways)) {
      try { await way(); open.push(name); } catch { /* denied */ }
    }
    return open;
  }, url);
  assert.deepEqual(leaks, []);
});

test('a reload forgets', async (t) => {
  const page = await visit(t);
  await give(page, 'signed.aval');
  await page.reload();
  assert.equal(await page.locator('.verdict').count(), 0);
  assert.deepEqual(await page.evaluate(() => [localStorage.length, document.cookie]), [0, '']);
});

// What follows computes with a model, if there is one.
const withModel = { skip: existsSync(file('model.gguf')) ? false : 'there is no model' };

test('computed again, and equal', withModel, async (t) => {
  const page = await visit(t);
  const first = await give(page, 'story.aval');
  assert.equal(first.status, 'partly', first.all);
  const before = await page.locator('#out').getAttribute('data-turn');
  const begin = performance.now();
  await page.setInputFiles('#model', file('model.gguf'));
  await page.locator('#working').waitFor();
  const got = await verdict(page, before);
  const seconds = (performance.now() - begin) / 1000;
  assert.equal(got.status, 'valid', got.all);
  assert.equal(got.title, 'Valid: computed again, and equal');
  const [, pieces] = got.why.match(/All (\d+) word pieces were computed again/);
  assert.match(got.all, /which calls itself “/);
  assert.match(got.all, /The model was asked exactly the question shown here/);
  assert.doesNotMatch(got.all, /was not computed again/);
  assert.equal(got.again, false);
  await picture(page, 'valid');
  t.diagnostic(`${pieces} word pieces in ${seconds.toFixed(2)} s, reading the model included`);

  // In the same page, without a pause.
  assert.equal((await give(page, 'sampled.aval', 'model.gguf')).status, 'partly');
  await page.locator('.verdict.valid').waitFor();
  assert.deepEqual(page.wrong, []);
});

test('both files at once, on a phone', withModel, async (t) => {
  const page = await visit(t, { width: 360 });
  await page.setInputFiles('#pick', [file('model.gguf'), file('story.aval')]);
  await page.locator('.verdict.valid').waitFor();
  assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), 'the page scrolls sideways');
  await picture(page, 'valid-phone');
  assert.deepEqual(page.wrong, []);
});

test('the model first', withModel, async (t) => {
  const page = await visit(t);
  await page.setInputFiles('#pick', file('model.gguf'));
  await page.getByText('Now choose its receipt').waitFor();
  await picture(page, 'model-first');
  await page.setInputFiles('#pick', file('story.aval'));
  await page.locator('.verdict.valid').waitFor();
  assert.deepEqual(page.wrong, []);
});

test('computed again, and not equal', withModel, async (t) => {
  const page = await visit(t);
  for (const [name, model, status, title, why] of [
    ['lie.aval', 'model.gguf', 'invalid', /^Not valid$/, /^This model does not give this answer\. It differs first at word piece 38 of \d+\.$/],
    ['text.aval', 'model.gguf', 'invalid', /^Not valid$/, /give another text/],
    ['prompt.aval', 'model.gguf', 'invalid', /^Not valid$/, /asked something else/],
    ['story.aval', 'other.gguf', 'unchecked', /^This is another model$/, /take the right one/],
  ]) {
    // What is shown already is not the answer; what comes before it may be gone
    // before anybody looks.
    await page.evaluate(() => document.querySelector('.verdict')?.setAttribute('data-old', ''));
    await page.setInputFiles('#pick', [file(name), file(model)]);
    await page.locator(`.verdict.${status}:not([data-old])`).waitFor();
    assert.match(await page.locator('.verdict h1').textContent(), title, name);
    assert.match(await page.locator('.verdict p').textContent(), why, name);
    assert.equal(await page.locator('#again').isVisible(), status === 'unchecked', name + ': whether the page takes another model');
    await picture(page, model === 'other.gguf' ? 'other-model' : name.replace('.aval', ''));
  }
  // The right model after the wrong one; then one that is damaged.
  await page.setInputFiles('#model', file('model.gguf'));
  await page.locator('.verdict.valid').waitFor();
  await page.setInputFiles('#pick', [file('story.aval'), file('damaged.gguf')]);
  await page.getByText('It was tried:').waitFor();
  assert.match(await page.locator('#problem').textContent(), /could not be computed again: .*incomplete/);
  assert.equal(await page.locator('.verdict.partly').count(), 1);
  assert.ok(await page.locator('#again').isVisible());
  await picture(page, 'damaged-model');
  assert.deepEqual(page.wrong, []);
});

test('stopped', withModel, async (t) => {
  const page = await visit(t);
  await give(page, 'story.aval');
  await page.setInputFiles('#model', file('model.gguf'));
  await page.locator('#stop').click();
  await page.locator('#offer').waitFor();
  assert.equal(await page.locator('.verdict.partly').count(), 1);
  // And again, with a worker that is new.
  await page.setInputFiles('#model', file('model.gguf'));
  await page.locator('.verdict.valid').waitFor();
  assert.deepEqual(page.wrong, []);
});
