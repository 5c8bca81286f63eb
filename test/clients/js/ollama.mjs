// The official Ollama client against the server at the given address.
import assert from 'node:assert/strict';
import test from 'node:test';
import { Ollama } from 'ollama';

const [, , host, key] = process.argv;
const client = new Ollama({ host, headers: { Authorization: 'Bearer ' + key } });
const model = 'fake:1b';
const say = (text) => [{ role: 'user', content: 'say ' + text }];

test('list, show, ps and version', async () => {
  const { models } = await client.list();
  assert.equal(models[0].name, model);
  assert.equal(models[0].details.format, 'gguf');
  const shown = await client.show({ model });
  assert.equal(shown.details.family, 'fake');
  assert.deepEqual(shown.capabilities, ['completion']);
  assert.ok(Array.isArray((await client.ps()).models));
  assert.equal((await client.version()).version, '1.2.3');
});

test('chat', async () => {
  const got = await client.chat({ model, messages: say('Grüße'), options: { temperature: 0, seed: 7 } });
  assert.equal(got.message.content, 'Grüße');
  assert.ok(got.done && got.done_reason === 'stop' && got.eval_count > 0);
});

test('chat stream', async () => {
  let text = '', last;
  for await (const part of await client.chat({ model, messages: say('世界 🌍!'), stream: true })) {
    text += part.message.content;
    last = part;
  }
  assert.equal(text, '世界 🌍!');
  assert.ok(last.done && last.total_duration >= 0);
});

test('abort', async () => {
  const stream = await client.chat({ model, messages: [{ role: 'user', content: 'count' }], stream: true });
  let pieces = 0;
  await assert.rejects(async () => {
    for await (const _ of stream) if (++pieces === 3) stream.abort();
  }, { name: 'AbortError' });
});

test('tools', async () => {
  const tools = [{ type: 'function', function: { name: 'get_weather', description: '', parameters: { type: 'object', properties: {} } } }];
  const messages = [{ role: 'user', content: 'weather' }];
  const got = await client.chat({ model, messages, tools });
  assert.deepEqual(got.message.tool_calls[0].function.arguments, { city: 'Paris' });
  messages.push(got.message, { role: 'tool', tool_name: 'get_weather', content: '12 degrees' });
  assert.equal((await client.chat({ model, messages, tools })).message.content, 'It has 12 degrees.');
});

test('generate', async () => {
  assert.equal((await client.generate({ model, prompt: 'say Hi', system: 'be brief' })).response, 'Hi');
  let text = '';
  for await (const part of await client.generate({ model, prompt: 'say raw', raw: true, stream: true })) text += part.response;
  assert.equal(text, 'raw');
  const schema = { type: 'object', properties: { x: { type: 'integer' } }, required: ['x'], additionalProperties: false };
  assert.equal((await client.generate({ model, prompt: 'say ignored', format: schema })).response, '{"x":1}');
});

test('embed', async () => {
  const got = await client.embed({ model, input: ['ab', 'abc'] });
  assert.equal(got.embeddings.length, 2);
  assert.ok(Math.abs(got.embeddings[0][0] - 0.4082483) < 1e-6);
  assert.equal((await client.embeddings({ model, prompt: 'ab' })).embedding.length, 4);
});

test('pull', async () => {
  const seen = [];
  for await (const part of await client.pull({ model: 'new', stream: true })) seen.push(part.status);
  assert.equal(seen.at(-1), 'success');
  assert.equal((await client.pull({ model: 'new' })).status, 'success');
});

test('errors', async () => {
  await assert.rejects(client.chat({ model: 'other', messages: say('x') }), (e) => e.status_code === 404 && /other/.test(e.message));
  await assert.rejects(client.chat({ model, messages: say('x'.repeat(1000)) }), (e) => e.status_code === 400 && /1000/.test(e.message));
  await assert.rejects(client.create({ model: 'x', from: model }), (e) => e.status_code === 501);
});
