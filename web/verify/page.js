// What a person does with the page. Every word about a receipt comes from the
// program; the words here are about files and waiting.
'use strict';

const $ = (id) => document.getElementById(id);
const show = (id, yes) => { $(id).hidden = !yes; };

// The program: packed into the page, unpacked once, run in a worker.
const program = (async () => {
  const packed = Uint8Array.from(atob($('program').textContent.trim()), (c) => c.charCodeAt(0));
  const bytes = new Response(new Blob([packed]).stream().pipeThrough(new DecompressionStream('gzip'))).arrayBuffer();
  return WebAssembly.compile(await bytes);
})();
const code = URL.createObjectURL(new Blob([$('worker').textContent], { type: 'text/javascript' }));

let worker; // a promise of a worker that is ready
let waiting = null; // the one request under way: { id, resolve, reject, progress }
let count = 0;

function start() {
  worker = program.then((module) => new Promise((resolve, reject) => {
    const w = new Worker(code);
    w.onerror = (e) => { fail(e.message); reject(new Error(e.message)); };
    w.onmessage = ({ data }) => {
      if (data.ready) resolve(w);
      else if (data.died) { fail(data.died); reject(new Error(data.died)); }
      else if (waiting?.id !== data.id) return; // of a request that was given up
      else if (data.result) { waiting.resolve(data.result); waiting = null; }
      else waiting.progress(data);
    };
    w.postMessage({ program: module });
  }));
  worker.catch(() => {}); // whoever asks is told
}

// fail ends the request under way after the program ended.
function fail(why) {
  const w = waiting;
  waiting = null;
  start();
  w?.reject(new Error(why));
}

async function ask(receipt, model, progress) {
  const id = ++count;
  const w = await worker;
  return new Promise((resolve, reject) => {
    waiting = { id, resolve, reject, progress };
    w.postMessage({ id, receipt, model });
  });
}

async function stop() {
  if (!waiting) return;
  waiting = null;
  (await worker).terminate();
  start();
}

// The page.
const again = $('again');
let receipt = null, model = null, report = null, turn = 0;

async function take(files) {
  if (!files.length) return;
  let fresh = null;
  for (const f of files) {
    if (await isModel(f)) model = f;
    else fresh = f;
  }
  if (fresh) { receipt = fresh; report = null; }
  complain('');
  if (!receipt) {
    $('what').textContent = 'Now choose its receipt';
    $('also').textContent = 'The model: ' + model.name;
    return;
  }
  const mine = ++turn;
  await stop();
  try {
    if (fresh) await check(mine);
    if (mine === turn && model && report?.open) await compute(mine);
  } catch (e) {
    if (mine === turn) broken(e);
  }
}

async function isModel(f) {
  if (f.size < 4) return false;
  const b = new Uint8Array(await f.slice(0, 4).arrayBuffer());
  return String.fromCharCode(...b) === 'GGUF';
}

async function check(mine) {
  const result = await ask(receipt, null, () => {});
  if (mine === turn) present(result);
}

async function compute(mine) {
  again.hidden = false; show('offer', false); show('working', true); show('after', false);
  $('phase').textContent = 'Reading the model …';
  $('left').textContent = '';
  $('bar').removeAttribute('value');
  again.scrollIntoView({ block: 'nearest' });
  let phase = '', begin = 0, first = 0;
  const result = await ask(receipt, model, (p) => {
    if (mine !== turn) return;
    if (p.phase !== phase) { phase = p.phase; begin = performance.now(); first = p.done; }
    $('phase').textContent = p.phase;
    if (!(p.total > 0)) { $('bar').removeAttribute('value'); return; }
    $('bar').max = p.total; $('bar').value = p.done;
    const seconds = (performance.now() - begin) / 1000;
    $('left').textContent = seconds > 2 && p.done > first ? leftOver(seconds * (p.total - p.done) / (p.done - first)) : '';
  });
  if (mine === turn) present(result);
  if (mine === turn && result.trouble) complain('The answer could not be computed again: ' + result.trouble);
  // The model's memory goes with the worker.
  if (mine === turn) { (await worker).terminate(); start(); }
}

function leftOver(seconds) {
  if (seconds < 60) return 'Less than a minute left.';
  const minutes = Math.round(seconds / 60);
  if (minutes < 100) return `About ${minutes} ${minutes === 1 ? 'minute' : 'minutes'} left.`;
  return `About ${Math.round(minutes / 60)} hours left. A computer with the program “aval” is far quicker: “aval verify”.`;
}

function present(result) {
  report = result;
  $('out').after(again); // out of what is replaced
  $('out').innerHTML = result.html;
  $('out').dataset.turn = turn;
  document.querySelector('.verdict').after(again);
  document.title = result.title + ' – Aval';
  $('drop').classList.add('done');
  $('what').textContent = 'Choose another receipt';
  show('working', false); show('offer', true); again.hidden = !result.open; show('after', true);
  const verdict = document.querySelector('.verdict h1');
  verdict.tabIndex = -1; // so that it is read out
  verdict.focus({ preventScroll: true });
  $('out').scrollIntoView({ block: 'start' });
}

function complain(text) {
  $('problem').textContent = text;
  show('problem', text !== '');
}

function broken(e) {
  show('working', false); show('offer', true);
  again.hidden = !report?.open; show('after', Boolean(report));
  const memory = /memory|RangeError|unreachable/i.test(e.message);
  complain(memory
    ? 'This browser has not enough memory for that. On a computer, “aval verify” checks the same.'
    : `The program inside this page could not run here (${e.message}). An up-to-date browser may help; on a computer, “aval verify” checks the same.`);
}

for (const id of ['pick', 'model']) {
  $(id).addEventListener('change', () => { const f = [...$(id).files]; $(id).value = ''; take(f); });
}
for (const kind of ['dragenter', 'dragover']) {
  document.addEventListener(kind, (e) => { e.preventDefault(); $('drop').classList.add('over'); });
}
document.addEventListener('dragleave', (e) => { if (!e.relatedTarget) $('drop').classList.remove('over'); });
document.addEventListener('drop', (e) => {
  e.preventDefault();
  $('drop').classList.remove('over');
  take([...e.dataTransfer.files]);
});
$('files').addEventListener('submit', (e) => e.preventDefault());
$('stop').addEventListener('click', async () => {
  turn++;
  await stop();
  show('working', false); show('offer', true); show('after', Boolean(report));
});
$('print').addEventListener('click', () => print());
$('anew').addEventListener('click', () => { scrollTo(0, 0); $('pick').click(); });
$('save').addEventListener('click', () => {
  const a = document.createElement('a');
  a.href = URL.createObjectURL(new Blob([report.page], { type: 'text/html' }));
  a.download = receipt.name.replace(/\.aval$/, '') + '.html';
  a.click();
  setTimeout(() => URL.revokeObjectURL(a.href), 10000);
});

start();
program.catch((e) => broken(e));
