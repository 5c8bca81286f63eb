// Uses the console of a node as a person would:
// node console.mjs BROWSER FACTS [PICTURES]
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { chromium } from 'playwright-core';

const [, , executablePath, text, pictures] = process.argv;
const facts = JSON.parse(text);
const base = new URL(facts.first).origin;
const patience = 60000; // ms; a loaded machine with two cores

let browser, state; // state has the cookies of the session
before(async () => {
  browser = await chromium.launch({
    executablePath,
    args: ['--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run',
      '--disable-background-networking', '--disable-component-update', '--disable-sync'],
  });
});
after(() => browser.close());

// visit opens a page of the console, and fails the test if the browser reports a
// mistake, or asks anything of anybody else.
async function visit(t, path, { width = 1000, height = 800, colorScheme = 'light', locale = 'en-GB', inside = true } = {}) {
  const context = await browser.newContext({ viewport: { width, height }, colorScheme, locale, storageState: inside ? state : undefined, reducedMotion: 'reduce' });
  t.after(() => context.close());
  const page = await context.newPage();
  page.setDefaultTimeout(patience);
  page.wrong = [];
  page.on('pageerror', (e) => page.wrong.push(String(e)));
  page.on('console', (m) => { if (['error', 'warning'].includes(m.type())) page.wrong.push(m.text()); });
  page.on('request', (r) => { if (new URL(r.url()).origin !== base) page.wrong.push('request ' + r.url()); });
  await page.goto(path.startsWith('http') ? path : base + path);
  return page;
}

async function picture(page, name, fullPage = true) {
  if (pictures) await page.screenshot({ path: join(pictures, 'console-' + name + '.png'), fullPage });
}

async function ask(page, question, { target } = {}) {
  if (target) {
    await page.locator(`#target option[value="${target}"]`).waitFor({ state: 'attached' });
    await page.selectOption('#target', target);
  }
  const n = await page.locator('#talk .assistant').count();
  await page.fill('#text', question);
  await page.keyboard.press('Enter');
  const li = page.locator('#talk .assistant').nth(n);
  await li.locator('.badge, .problem').waitFor();
  return li;
}

const peerOf = (link) => link.match(/^peer:\/\/([^?]+)/)[1];

// pale gives the texts of a page whose contrast is too small (WCAG 2.2 AA).
const pale = (page) => page.evaluate(() => {
  const rgb = (s) => { const m = s.match(/[\d.]+/g).map(Number); return m.length < 4 ? [...m, 1] : m; };
  const light = ([r, g, b]) => [r, g, b].map((v) => { v /= 255; return v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; })
    .reduce((s, v, i) => s + v * [0.2126, 0.7152, 0.0722][i], 0);
  const under = (e) => { for (; e; e = e.parentElement) { const c = rgb(getComputedStyle(e).backgroundColor); if (c[3] === 1) return c; } return [255, 255, 255, 1]; };
  const out = [];
  for (const e of document.querySelectorAll('main *, header *')) {
    const own = [...e.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim());
    const box = e.getBoundingClientRect();
    if (!own || !box.width || e.closest('svg, option, noscript, .vh, .skip') || e.disabled) continue;
    const style = getComputedStyle(e), a = light(rgb(style.color)), b = light(under(e));
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    const large = parseFloat(style.fontSize) >= 24 || parseFloat(style.fontSize) >= 18.66 && Number(style.fontWeight) >= 700;
    if (ratio < (large ? 3 : 4.5)) out.push(`${e.tagName}.${e.className} ${ratio.toFixed(2)} ${e.textContent.trim().slice(0, 30)}`);
  }
  return out;
});

// nameless gives what can be used and has no name for those who do not see it.
const nameless = (page) => page.evaluate(() => [...document.querySelectorAll('a, button, input:not([type=hidden]), select, textarea, svg[role=img]')]
  .filter((e) => !(e.getAttribute('aria-label') || e.labels?.length || e.textContent.trim() || e.title)).map((e) => e.outerHTML.slice(0, 100)));

test('only a link lets a browser in, once', async (t) => {
  const stranger = await visit(t, '/', { inside: false });
  assert.match(await stranger.locator('main').innerText(), /was not let in/);
  const page = await visit(t, facts.first, { inside: false });
  await page.waitForURL(base + '/');
  await page.locator('#text').waitFor();
  state = await page.context().storageState();
  assert.ok(state.cookies.every((c) => !/aval-\d+/.test(c.name) || c.httpOnly && c.sameSite === 'Strict'), JSON.stringify(state.cookies));
  assert.deepEqual(page.wrong, []);
  const again = await visit(t, facts.first, { inside: false });
  await again.getByText('was used already').waitFor();
  await picture(again, 'login');
});

test('the first page is small', async (t) => {
  const context = await browser.newContext({ storageState: state });
  t.after(() => context.close());
  const page = await context.newPage();
  const sizes = [];
  page.on('response', (r) => sizes.push(r.body().then((b) => b.length)));
  await page.goto(base + '/', { waitUntil: 'networkidle' });
  const sum = (await Promise.all(sizes)).reduce((x, y) => x + y, 0);
  t.diagnostic(`${sizes.length} answers of ${sum} bytes`);
  assert.ok(sizes.length >= 3 && sum > 10_000 && sum < 150_000, `${sizes.length} answers of ${sum} bytes`);
});

test('a model of this device, and its proof', async (t) => {
  const page = await visit(t, '/');
  await picture(page, 'start', false);
  const li = await ask(page, 'The prince looked at');
  assert.ok((await li.locator('.body').innerText()).length > 20);
  assert.equal(await li.locator('.badge.partly').count(), 1);
  assert.match(await li.locator('.badge').innerText(), /This device computed it; it was not computed a second time/);
  await li.locator('.again button').click();
  await li.locator('.badge.valid').waitFor();
  await picture(page, 'chat', false);
  const answer = await li.locator('.body').innerText();

  // A reload keeps it; another language says it in that one.
  await page.reload();
  await page.locator('.badge.valid').waitFor();
  await page.click('button[name=lang]');
  await page.getByText('Calculada de novo, e igual.').waitFor();
  assert.equal(await page.locator('html').getAttribute('lang'), 'pt-BR');
  await page.click('button[name=lang]');

  await page.locator('.badge-link').click();
  await page.waitForURL(/\/proof\//);
  assert.equal(await page.locator('.verdict h1').innerText(), 'Valid: computed again, and equal');
  assert.ok((await page.locator('blockquote').last().innerText()).trim().startsWith(answer.trim().slice(0, 20)));
  await picture(page, 'proof');
  const download = page.waitForEvent('download');
  await page.getByRole('link', { name: 'Save the receipt' }).click();
  await (await download).saveAs(join(facts.dir, 'answer.aval'));

  await page.goto(base + '/audits');
  await page.setInputFiles('#receipt1', join(facts.dir, 'answer.aval'));
  await page.getByRole('button', { name: 'Check', exact: true }).click();
  await page.waitForURL(/\/proof\//);
  assert.equal(await page.locator('.verdict h1').innerText(), 'Valid: computed again, and equal');
  assert.deepEqual(page.wrong, []);
});

test('an answer is stopped', async (t) => {
  const page = await visit(t, '/');
  await page.locator('.more summary').click();
  await page.fill('#length', '100000');
  await page.fill('#text', 'The prince looked at');
  await page.keyboard.press('Enter');
  await page.locator('#stop').waitFor();
  await page.keyboard.press('Escape');
  await page.locator('.assistant .problem, .assistant .badge').waitFor(); // it may have been faster
  await page.locator('#stop').waitFor({ state: 'hidden' });
  await ask(page, 'The count said');
  assert.equal(await page.locator('.assistant').last().locator('.badge').count(), 1);
  assert.deepEqual(page.wrong, []);
});

test('a friend is added, and drawn', async (t) => {
  const page = await visit(t, '/network');
  for (const link of [facts.honest, facts.liar]) {
    await page.fill('#link', link);
    await page.getByRole('button', { name: 'Connect' }).click();
    await page.getByText('This node stays connected with it').waitFor();
  }
  for (const link of [facts.honest, facts.liar]) {
    await page.locator(`[id="p-${peerOf(link)}"]`).waitFor();
    assert.equal(await page.locator(`svg.map.wide a[href="#p-${peerOf(link)}"]`).count(), 1);
  }
  await page.locator(`[id="p-${peerOf(facts.honest)}"]`).getByRole('button', { name: 'Measure' }).click();
  await page.getByText(/It answered after [\d.]+ m?s/).waitFor();
  await picture(page, 'network');
  // The map changes by itself.
  await page.evaluate(() => { document.querySelector('[data-live]').firstElementChild.setAttribute('data-old', ''); });
  await page.waitForFunction(() => !document.querySelector('[data-old]'));
  assert.deepEqual(page.wrong, []);
});

test('a model of an honest device', async (t) => {
  const page = await visit(t, '/');
  const li = await ask(page, 'The prince looked at', { target: `peer://${peerOf(facts.honest)}/aval-mini:Q8_0` });
  assert.equal(await li.locator('.badge.valid').count(), 1, await li.innerText());
  assert.match(await li.locator('.badge').innerText(), /Checked here, with aval-mini/);
  await picture(page, 'remote', false);
  // Without computing again, only the signature is vouched for.
  await page.locator('.more summary').click();
  await page.uncheck('#compute');
  const trusted = await ask(page, 'The count said');
  assert.equal(await trusted.locator('.badge.partly').count(), 1, await trusted.innerText());
  assert.match(await trusted.locator('.badge').innerText(), /alone says that its model gave it/);
  await trusted.locator('.again button').click();
  await trusted.locator('.badge.valid').waitFor();
  assert.deepEqual(page.wrong, []);
});

test('a liar is found, and pinned to one tile', async (t) => {
  const page = await visit(t, '/');
  const li = await ask(page, 'It was in July', { target: `peer://${peerOf(facts.liar)}/true` });
  assert.equal(await li.locator('.badge.invalid').count(), 1, await li.innerText());
  assert.ok(await page.locator('.assistant.false').count(), 'the text is not marked as false');
  assert.match(await li.locator('.why').innerText(), /its token \d+ is ".*" \(id \d+\), and the model gives/);
  await picture(page, 'lie', false);
  await li.getByRole('button', { name: 'Dispute it' }).click();
  await page.waitForURL(/\/dispute\//, { timeout: patience });
  assert.equal(await page.locator('h1').innerText(), 'The answer was false');
  assert.match(await page.locator('.verdict p').innerText(), /In layer 3, at position \d+, a tile of the step “ffn_down”/);
  assert.equal(await page.locator('svg.bisect.wide rect.wrong').count(), 1);
  assert.ok(await page.locator('.moves li').count() >= 3);
  assert.match(await page.locator('svg.bisect.wide').innerHTML(), /signed: [0-9a-f]{40}/);
  await picture(page, 'dispute');
  const proof = page.waitForEvent('download');
  await page.getByRole('link', { name: 'save it' }).click();
  await (await proof).saveAs(join(facts.dir, 'proof'));

  // A third party, who has the receipt and the proof, sees the same.
  await page.goto(base + '/audits');
  await picture(page, 'audits');
  await page.locator('[aria-labelledby=answers] .row.invalid .badge-link').first().click();
  await page.getByText('Do not believe this answer').first().waitFor();
  await picture(page, 'lie-proof');
  const saved = page.waitForEvent('download');
  await page.getByRole('link', { name: 'Save the receipt' }).click();
  await (await saved).saveAs(join(facts.dir, 'lie.aval'));
  await page.goto(base + '/audits');
  await page.setInputFiles('#receipt2', join(facts.dir, 'lie.aval'));
  await page.setInputFiles('#proof2', join(facts.dir, 'proof'));
  await page.getByRole('button', { name: 'Judge' }).click();
  await page.waitForURL(/\/dispute\//);
  assert.equal(await page.locator('h1').innerText(), 'The answer was false');
  // The proof of one receipt is none of another.
  await page.goto(base + '/audits');
  await page.setInputFiles('#receipt2', join(facts.dir, 'answer.aval'));
  await page.setInputFiles('#proof2', join(facts.dir, 'proof'));
  await page.getByRole('button', { name: 'Judge' }).click();
  await page.waitForURL(/\/dispute\//);
  assert.equal(await page.locator('h1').innerText(), 'The accusation does not stand');
  assert.deepEqual(page.wrong, []);
});

test('models and offers', async (t) => {
  const page = await visit(t, '/models');
  assert.match(await page.locator('main').innerText(), /aval-mini:Q8_0/);
  await page.waitForFunction(async () => (await (await fetch('/models')).text()).includes('next door'), null, { polling: 1000 });
  await page.reload();
  await picture(page, 'models');
  await page.locator('section', { has: page.locator('#offers') }).getByRole('link', { name: 'Ask it' }).first().click();
  await page.locator('#target').waitFor();
  await page.waitForFunction(() => document.getElementById('target').value.startsWith('peer://'));
  await page.goto(base + '/models');
  await page.fill('#link', 'peer://nonsense/x');
  await page.getByRole('button', { name: 'Fetch' }).click();
  await page.locator('#link').waitFor();
  await page.waitForFunction(() => document.querySelector('[data-live] .bad'));
  assert.deepEqual(page.wrong, []);
});

test('the ledger, with proofs', async (t) => {
  const page = await visit(t, '/ledger');
  await picture(page, 'ledger');
  // Others are of the beacon's key.
  const blocks = await page.locator('.row', { hasText: /[1-9]\d* transaction/ }).evaluateAll((rows) => rows.map((row) => row.querySelector('a').href));
  for (const block of blocks) {
    await page.goto(block);
    if (await page.getByRole('link', { name: 'transfer' }).count() > 0) break;
  }
  await page.getByRole('link', { name: 'transfer' }).click();
  await page.waitForURL(/\/ledger\/tx\//);
  assert.match(await page.locator('main').innerText(), /(done|long ago)[^]*2500000/);
  await page.goto(base + '/ledger');
  await page.fill('#q', 'ab'.repeat(32));
  await page.keyboard.press('Enter');
  await page.waitForURL(/\/ledger\/account\//);
  assert.match(await page.locator('main').innerText(), /2\.5 units[^]*its proof was checked here/);
  await picture(page, 'account');
  await page.goto(base + '/ledger?q=61' + 'cd'.repeat(32));
  assert.match(await page.locator('main').innerText(), /has nothing at this key: the proof of that was checked here/);
  assert.deepEqual(page.wrong, []);
});

test('on a phone, in the dark, in Portuguese', async (t) => {
  const page = await visit(t, '/', { width: 390, height: 844, colorScheme: 'dark', locale: 'pt-BR' });
  for (const [path, heading] of [['/', 'Conversa'], ['/network', 'Rede'], ['/models', 'Modelos'], ['/audits', 'Auditorias'], ['/ledger', 'Registro'], ['/settings', 'Ajustes']]) {
    await page.goto(base + path);
    assert.equal(await page.locator('html').getAttribute('lang'), 'pt-BR');
    assert.equal(await page.locator('h1').first().innerText(), heading);
    assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), path + ' scrolls sideways');
    assert.ok(await page.evaluate(() => getComputedStyle(document.body).backgroundColor) === 'rgb(21, 23, 26)', path + ' is not dark');
    assert.deepEqual(await pale(page), [], path);
    await picture(page, 'phone' + path.replace('/', '-'), false);
  }
  await page.goto(base + '/');
  await ask(page, 'The prince looked at', { target: 'local:aval-mini:Q8_0' });
  assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), 'the conversation scrolls sideways');
  // What is last is not below the field that text is written into.
  assert.ok(await page.evaluate(() => document.querySelector('.badge').getBoundingClientRect().bottom <= document.querySelector('#ask').getBoundingClientRect().top + 1));
  await picture(page, 'phone-chat-answer', false);
  await page.locator('.badge-link').click();
  await page.waitForURL(/\/proof\//);
  assert.equal(await page.locator('.verdict h1').innerText(), 'Assinado e inalterado, mas não calculado de novo');
  assert.match(await page.locator('.report').innerText(), /O que um recibo não mostra/);
  assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), 'the proof scrolls sideways');
  await picture(page, 'phone-proof');
  await page.goto(base + '/audits');
  await page.locator('a[href^="/dispute/"]').last().click();
  await page.locator('svg.bisect.narrow').waitFor();
  assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), 'the dispute scrolls sideways');
  await picture(page, 'phone-dispute');
  assert.deepEqual(page.wrong, []);
});

test('light and dark', async (t) => {
  const colour = (page) => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
  const page = await visit(t, '/settings', { colorScheme: 'light' });
  const light = await colour(page);
  await page.click('#theme');
  const dark = await colour(page);
  assert.notEqual(light, dark);
  await page.reload();
  assert.equal(await colour(page), dark, 'a reload forgets it');
  await picture(page, 'settings-dark');
  await page.getByLabel('As this device has it').check();
  await page.getByRole('button', { name: 'Save' }).click();
  await page.waitForLoadState();
  assert.equal(await colour(page), light);
  assert.deepEqual(page.wrong, []);
});

test('with the keyboard alone', async (t) => {
  const page = await visit(t, '/settings');
  const focused = () => page.evaluate(() => { const e = document.activeElement; return e.id || e.getAttribute('href') || e.name || e.className; });
  // The way into the content comes first, then the sections in their order.
  const order = [];
  for (let i = 0; i < 9; i++) { await page.keyboard.press('Tab'); order.push(await focused()); }
  assert.deepEqual(order, ['#main', '/', '/', '/network', '/models', '/audits', '/ledger', '/settings', 'lang']);
  assert.ok(await page.evaluate(() => getComputedStyle(document.activeElement).outlineStyle !== 'none'), 'the focus cannot be seen');
  for (const [key, url] of [['2', '/network'], ['3', '/models'], ['4', '/audits'], ['5', '/ledger'], ['6', '/settings'], ['1', '/']]) {
    await page.locator('body').press(key);
    await page.waitForURL(base + url);
  }
  await page.locator('#text').waitFor();
  assert.equal(await focused(), 'text');
  await page.keyboard.type('?t2');
  assert.equal(await page.inputValue('#text'), '?t2', 'shortcuts work within a field');
  assert.equal(await page.locator('#keys').isVisible(), false);
  await page.fill('#text', '');
  await page.evaluate(() => document.activeElement.blur());
  await page.keyboard.press('?');
  assert.ok(await page.locator('#keys').isVisible());
  await picture(page, 'keys', false);
  await page.keyboard.press('Escape');
  assert.equal(await page.locator('#keys').isVisible(), false);
  await page.evaluate(() => document.activeElement.blur());
  await page.keyboard.press('/');
  assert.equal(await focused(), 'text');
  await page.fill('#text', 'The prince');
  await page.keyboard.press('Enter');
  await page.locator('.badge').waitFor();
  await page.evaluate(() => document.activeElement.blur());
  await page.keyboard.press('p');
  await page.waitForURL(/\/proof\//);

  await page.goto(base + '/settings');
  await page.getByLabel('Off').check();
  await page.getByRole('button', { name: 'Save' }).click();
  await page.waitForLoadState();
  await page.locator('body').press('?');
  assert.equal(await page.locator('#keys').isVisible(), false, 'the shortcuts are not off');
  assert.deepEqual(page.wrong, []);
});

test('for those who do not see well', async (t) => {
  const page = await visit(t, '/');
  await ask(page, 'The prince looked at', { target: 'local:aval-mini:Q8_0' });
  const seen = async (what) => {
    assert.deepEqual(await nameless(page), [], what);
    assert.deepEqual(await pale(page), [], what);
    assert.equal(await page.locator('main').count(), 1, what);
    assert.ok(await page.locator('h1').count() >= 1, what);
    assert.deepEqual(await page.evaluate(() => { const ids = [...document.querySelectorAll('[id]')].map((e) => e.id); return ids.filter((x, i) => ids.indexOf(x) !== i); }), [], what + ': ids');
  };
  await seen('/');
  assert.equal(await page.locator('#talk').getAttribute('aria-live'), 'polite');
  for (const path of ['/network', '/models', '/audits', '/ledger', '/settings', '/login']) {
    await page.goto(base + path);
    await seen(path);
  }
});

test('a page of another site learns nothing', async (t) => {
  const page = await visit(t, '/');
  // The policy of the page itself allows no connection elsewhere, no frame, no
  // script from elsewhere.
  const leaks = await page.evaluate(async () => {
    const ways = {
      fetch: () => fetch('http://127.0.0.1:1/leak'),
      script: () => new Promise((ok, no) => { const s = document.createElement('script'); s.onload = ok; s.onerror = no; s.src = 'http://127.0.0.1:1/leak.js'; document.head.append(s); }),
      inline: () => new Promise((ok, no) => { document.addEventListener('securitypolicyviolation', no, { once: true }); window.ran = ok; const s = document.createElement('script'); s.textContent = 'window.ran()'; document.head.append(s); }),
      image: () => new Promise((ok, no) => { const i = new Image(); i.onload = ok; i.onerror = no; i.src = 'http://127.0.0.1:1/leak.png'; }),
      eval: async () => (0, eval)('1'),
    };
    const open = [];
    for (const [name, way] of Object.entries(ways)) { try { await way(); open.push(name); } catch { /* denied */ } }
    return open;
  });
  assert.deepEqual(leaks, []);
});
