// The official OpenAI client against the server at the given address.
import assert from 'node:assert/strict';
import test from 'node:test';
import OpenAI from 'openai';

const [, , url, key] = process.argv;
const client = new OpenAI({ baseURL: url + '/v1', apiKey: key, maxRetries: 0 });
const model = 'fake:1b';
const say = (text) => [{ role: 'user', content: 'say ' + text }];

test('models', async () => {
  const ids = [];
  for await (const m of client.models.list()) ids.push(m.id);
  assert.deepEqual(ids, [model]);
  assert.equal((await client.models.retrieve(model)).id, model);
});

test('chat', async () => {
  const got = await client.chat.completions.create({ model, messages: say('Grüße'), seed: 7, temperature: 0 });
  assert.equal(got.choices[0].message.content, 'Grüße');
  assert.equal(got.choices[0].finish_reason, 'stop');
  assert.equal(got.usage.total_tokens, got.usage.prompt_tokens + got.usage.completion_tokens);
});

test('chat in parts', async () => {
  const messages = [{ role: 'user', content: [{ type: 'text', text: 'say parts' }] }];
  const got = await client.chat.completions.create({ model, messages });
  assert.equal(got.choices[0].message.content, 'parts');
});

test('stream', async () => {
  const stream = await client.chat.completions.create({
    model, messages: say('世界 🌍!'), stream: true, stream_options: { include_usage: true },
  });
  let text = '', usage, finish, pieces = 0;
  for await (const chunk of stream) {
    pieces++;
    usage = chunk.usage ?? usage;
    text += chunk.choices[0]?.delta?.content ?? '';
    finish = chunk.choices[0]?.finish_reason ?? finish;
  }
  assert.equal(text, '世界 🌍!');
  assert.equal(finish, 'stop');
  assert.ok(usage.completion_tokens > 0);
  assert.ok(pieces > 4);
});

test('stream helper', async () => {
  const stream = client.chat.completions.stream({ model, messages: say('hello there') });
  const events = [];
  stream.on('content', (delta) => events.push(delta));
  assert.equal(await stream.finalContent(), 'hello there');
  assert.equal(events.join(''), 'hello there');
});

test('abort', async () => {
  const stream = await client.chat.completions.create({ model, messages: [{ role: 'user', content: 'count' }], stream: true });
  let pieces = 0;
  for await (const _ of stream) {
    if (++pieces === 3) stream.controller.abort();
  }
  assert.ok(pieces >= 3 && pieces < 1000);
});

const weather = {
  type: 'function',
  function: {
    name: 'get_weather',
    parameters: { type: 'object', properties: { city: { type: 'string' } }, required: ['city'] },
  },
};

for (const streamed of [false, true]) {
  test('run tools' + (streamed ? ' in a stream' : ''), async () => {
    const cities = [];
    const tool = {
      type: 'function',
      function: { ...weather.function, parse: JSON.parse, function: ({ city }) => { cities.push(city); return '12 degrees'; } },
    };
    const runner = client.chat.completions.runTools({ model, messages: [{ role: 'user', content: 'weather' }], tools: [tool], stream: streamed });
    assert.equal(await runner.finalContent(), 'It has 12 degrees.');
    assert.deepEqual(cities, ['Paris']);
  });
}

test('log probabilities', async () => {
  const got = await client.chat.completions.create({ model, messages: say('ab'), logprobs: true, top_logprobs: 2 });
  const lp = got.choices[0].logprobs.content;
  assert.deepEqual(lp.map((t) => t.token), ['a', 'b']);
  assert.equal(lp[0].top_logprobs.length, 2);
});

test('response format', async () => {
  const schema = { type: 'object', properties: { x: { type: 'integer' } }, required: ['x'], additionalProperties: false };
  const got = await client.chat.completions.parse({
    model, messages: say('ignored'), response_format: { type: 'json_schema', json_schema: { name: 'x', strict: true, schema } },
  });
  assert.deepEqual(JSON.parse(got.choices[0].message.content), { x: 1 });
});

test('completions', async () => {
  const got = await client.completions.create({ model, prompt: ['say one', 'say two'], max_tokens: 10 });
  assert.deepEqual(got.choices.map((c) => c.text), ['one', 'two']);
  let text = '';
  for await (const chunk of await client.completions.create({ model, prompt: 'say three', stream: true })) text += chunk.choices[0].text;
  assert.equal(text, 'three');
});

test('embeddings', async () => {
  // Without encoding_format the client asks for base64 and decodes it.
  for (const encoding_format of [undefined, 'float', 'base64']) {
    const got = await client.embeddings.create({ model, input: ['ab', 'abc'], encoding_format });
    assert.equal(got.data.length, 2);
    if (encoding_format !== 'base64') {
      assert.equal(got.data[0].embedding.length, 4);
      assert.ok(Math.abs(got.data[0].embedding[0] - 0.4082483) < 1e-6);
    }
  }
});

test('errors', async () => {
  await assert.rejects(client.chat.completions.create({ model: 'other', messages: say('x') }), (e) =>
    e instanceof OpenAI.NotFoundError && e.code === 'model_not_found' && /other/.test(e.message));
  await assert.rejects(new OpenAI({ baseURL: url + '/v1', apiKey: 'wrong', maxRetries: 0 }).models.list(), (e) =>
    e instanceof OpenAI.AuthenticationError && e.code === 'invalid_api_key');
  await assert.rejects(client.chat.completions.create({ model, messages: say('x'.repeat(1000)), stream: true }), (e) =>
    e instanceof OpenAI.BadRequestError && e.code === 'context_length_exceeded' && /1000/.test(e.message));
  await assert.rejects(client.chat.completions.create({
    model, messages: [{ role: 'user', content: [{ type: 'image_url', image_url: { url: 'data:,' } }] }],
  }), (e) => e instanceof OpenAI.BadRequestError && e.param === 'messages[0].content[0]');
});

test('error in a stream', async () => {
  const stream = await client.chat.completions.create({ model, messages: [{ role: 'user', content: 'say break' }], stream: true });
  await assert.rejects(async () => { for await (const _ of stream); }, /told to break/);
});
