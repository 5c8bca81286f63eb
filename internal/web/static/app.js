// What the pages do beyond being read: answers that come while they are written,
// parts that change, shortcuts. Every word comes from the page.
const $ = (id) => document.getElementById(id);
const csrf = document.querySelector('meta[name=csrf]').content;

// A link has its code behind the #, which no server sees: hand it in.
const login = $('login');
if (login && location.hash.length > 1) {
  $('code').value = decodeURIComponent(location.hash.slice(1));
  history.replaceState(null, '', location.pathname);
  login.submit();
}

// Light and dark, without loading the page again.
function dark() {
  const chosen = document.documentElement.dataset.theme;
  return chosen ? chosen === 'dark' : matchMedia('(prefers-color-scheme: dark)').matches;
}
function switchTheme() {
  const theme = dark() ? 'light' : 'dark';
  document.documentElement.dataset.theme = theme;
  document.cookie = `aval-theme=${theme}; path=/; max-age=31536000; samesite=strict`;
}
$('theme')?.addEventListener('click', (e) => { e.preventDefault(); switchTheme(); });

// Shortcuts.
const keys = $('keys');
$('help')?.addEventListener('click', () => keys.showModal());
document.addEventListener('keydown', (e) => {
  const field = e.target.closest('input, textarea, select, [contenteditable]');
  if (e.key === 'Escape' && stopAsking) { stopAsking(); return; }
  if (field || e.ctrlKey || e.metaKey || e.altKey || keys?.open || document.body.dataset.keys === 'off') return;
  const press = {
    '?': () => keys?.showModal(),
    '/': () => ($('text') ?? document.querySelector('main input:not([type=hidden])'))?.focus(),
    t: switchTheme,
    n: () => $('new')?.click(),
    p: () => [...document.querySelectorAll('.badge-link')].pop()?.click(),
  }[e.key];
  const nav = document.querySelector(`nav [data-key="${CSS.escape(e.key)}"]`);
  if (!press && !nav) return;
  e.preventDefault();
  press ? press() : nav.click();
});

// Copying.
document.addEventListener('click', async (e) => {
  const b = e.target.closest('[data-copy]');
  if (!b) return;
  const was = b.textContent;
  try {
    await navigator.clipboard.writeText($(b.dataset.copy).textContent);
    b.textContent = b.dataset.copied;
    setTimeout(() => { b.textContent = was; }, 2000);
  } catch { getSelection().selectAllChildren($(b.dataset.copy)); }
});

// Parts that change by themselves; not while somebody is in them, or looks
// elsewhere.
for (const part of document.querySelectorAll('[data-live]')) {
  setInterval(async () => {
    if (document.hidden || part.contains(document.activeElement)) return;
    try {
      const r = await fetch(part.dataset.live);
      const html = r.ok ? await r.text() : '';
      if (r.ok && html !== part.last && !part.contains(document.activeElement)) { part.last = html; part.innerHTML = html; }
    } catch { /* the next time */ }
  }, part.dataset.every * 1000);
}

// What takes long says so.
document.addEventListener('submit', (e) => {
  if (!e.target.matches('.slow') || e.defaultPrevented) return;
  const note = document.createElement('span');
  note.className = 'note busy';
  note.setAttribute('role', 'status');
  note.textContent = e.target.dataset.wait;
  e.target.append(note);
  setTimeout(() => { for (const b of e.target.querySelectorAll('button')) b.disabled = true; });
});

// The conversation.
let stopAsking = null;
const chat = $('chat');
if (chat) conversation();

function conversation() {
  const talk = $('talk'), text = $('text');
  let said = []; // { role, content, id }

  const keep = () => { try { sessionStorage.setItem('aval-talk', JSON.stringify(said)); } catch { /* too long */ } };
  const near = () => innerHeight + scrollY > document.documentElement.scrollHeight - 160;
  const follow = () => scrollTo(0, document.documentElement.scrollHeight);
  const chosen = () => $('target')?.selectedOptions[0];

  function add(role, content, who) {
    $('hello').hidden = true;
    const li = document.createElement('li');
    li.className = role;
    const name = document.createElement('p');
    name.className = 'speaker';
    name.textContent = who;
    const body = document.createElement('div');
    body.className = 'body';
    body.textContent = content;
    li.append(name, body);
    talk.append(li);
    return { li, body };
  }

  async function badge(li, id) {
    const r = await fetch('/badge/' + id);
    if (r.ok) put(li, await r.text());
  }
  function put(li, html) {
    li.querySelector('.badge')?.remove();
    li.insertAdjacentHTML('beforeend', html);
  }

  // What a reload of the page must not lose.
  try { said = JSON.parse(sessionStorage.getItem('aval-talk')) ?? []; } catch { /* none */ }
  for (const m of said) {
    const { li } = add(m.role, m.content, m.role === 'user' ? chat.dataset.you : m.who);
    if (m.id) badge(li, m.id);
  }
  if (said.length) follow();

  $('new').addEventListener('click', () => {
    stopAsking?.();
    said = []; keep();
    talk.replaceChildren();
    $('hello').hidden = false;
    text.focus();
  });

  const fit = () => { text.style.height = 'auto'; text.style.height = Math.min(text.scrollHeight + 2, 240) + 'px'; };
  text.addEventListener('input', fit);
  text.addEventListener('keydown', (e) => {
    if (e.key === 'Enter' && !e.shiftKey && !e.isComposing) { e.preventDefault(); $('ask').requestSubmit(); }
  });
  $('stop').addEventListener('click', () => stopAsking?.());
  $('ask').addEventListener('submit', (e) => { e.preventDefault(); send(); });
  talk.addEventListener('submit', again);

  async function send() {
    const question = text.value.trim();
    if (!question || stopAsking || !chosen()) return;
    const name = chosen().dataset.name, short = chosen().dataset.short;
    const who = short ? `${name} · ${short}` : name;
    add('user', question, chat.dataset.you);
    said.push({ role: 'user', content: question });
    text.value = ''; fit();
    const { li, body } = add('assistant', '', who);
    li.setAttribute('aria-busy', 'true');
    follow();
    const control = new AbortController();
    stopAsking = () => control.abort();
    $('stop').hidden = false; $('send').disabled = true;
    let ended = null, wrong = '';
    try {
      const r = await fetch('/chat', {
        method: 'POST', signal: control.signal,
        headers: { 'Content-Type': 'application/json', Accept: 'application/json', 'Aval-Csrf': csrf },
        body: JSON.stringify({
          target: chosen().value, messages: said.map(({ role, content }) => ({ role, content })),
          temperature: Number($('temperature').value) || 0, max_tokens: Number($('length').value) || 0, compute: $('compute').checked,
        }),
      });
      for await (const l of lines(r.body)) {
        const stay = near();
        if (l.error) wrong = l.error;
        if (l.phase) $('phase').textContent = l.phase;
        if (l.text) body.textContent += l.text;
        if (l.checked) $('phase').textContent = chat.dataset.checked.replace('{n}', l.checked);
        if (l.false) { li.classList.add('false'); $('phase').textContent = chat.dataset.false; }
        if (l.id) ended = l;
        if (stay) follow();
      }
      if (!ended && !wrong) wrong = chat.dataset.lost;
    } catch {
      wrong = control.signal.aborted ? chat.dataset.stopped : chat.dataset.lost;
    }
    li.removeAttribute('aria-busy');
    stopAsking = null;
    $('stop').hidden = true; $('send').disabled = false;
    $('phase').textContent = ended ? chat.dataset.ready : '';
    if (ended) {
      if (ended.whole) body.textContent = ended.whole;
      put(li, ended.html);
      if (li.querySelector('.badge.invalid')) { li.classList.add('false'); $('phase').textContent = chat.dataset.false; }
      if (!li.querySelector('.badge.invalid')) said.push({ role: 'assistant', content: body.textContent, id: ended.id, who });
      else said.pop(); // what is false is not remembered, nor its question
    } else {
      const p = document.createElement('p');
      p.className = 'problem';
      p.setAttribute('role', 'alert');
      p.textContent = wrong;
      li.append(p);
      said.pop();
      if (!body.textContent) { text.value = question; fit(); }
    }
    keep();
    follow();
    text.focus();
  }

  // again computes an answer a second time, in its place.
  async function again(e) {
    if (!e.target.matches('.again')) return;
    e.preventDefault();
    const li = e.target.closest('li'), button = e.target.querySelector('button');
    button.disabled = true;
    $('phase').textContent = chat.dataset.checking;
    try {
      const r = await fetch(e.target.action, { method: 'POST', headers: { Accept: 'text/html+part', 'Aval-Csrf': csrf } });
      if (r.ok) put(li, await r.text());
      $('phase').textContent = '';
      li.querySelector('.badge-link')?.focus();
    } catch {
      $('phase').textContent = chat.dataset.lost;
      button.disabled = false;
    }
  }

  // Models of other devices may become known while the page is open.
  setInterval(async () => {
    if (document.hidden || document.activeElement === $('target')) return;
    try {
      const r = await fetch('/chat/targets?model=' + encodeURIComponent($('target').value));
      const html = r.ok ? await r.text() : '';
      if (html && html !== $('targets').last && document.activeElement !== $('target')) { $('targets').last = html; $('targets').innerHTML = html; }
    } catch { /* the next time */ }
  }, 5000);
  text.focus({ preventScroll: true });
}

// lines reads JSON, one value a line, as it comes.
async function* lines(stream) {
  const reader = stream.pipeThrough(new TextDecoderStream()).getReader();
  let rest = '';
  for (;;) {
    const { value, done } = await reader.read();
    if (done) break;
    rest += value;
    const parts = rest.split('\n');
    rest = parts.pop();
    for (const p of parts) if (p) yield JSON.parse(p);
  }
  if (rest.trim()) yield JSON.parse(rest);
}
