// The worker runs the program, so that the page stays awake while it computes.
// What Go needs of the browser (wasm_exec.js) stands before this text.
'use strict';

onmessage = async ({ data }) => {
  if (data.program) {
    const go = new Go();
    try {
      const instance = await WebAssembly.instantiate(data.program, go.importObject);
      await go.run(instance); // ends only when the program fails
      postMessage({ died: 'the program ended' });
    } catch (e) {
      postMessage({ died: String(e) });
    }
    return;
  }
  // The program has put aval here and said that it is ready.
  const { id, receipt, model } = data;
  const progress = (phase, done, total) => postMessage({ id, phase, done, total });
  try {
    aval(receipt, model ?? null, progress, (result) => postMessage({ id, result }));
  } catch (e) {
    postMessage({ died: String(e) });
  }
};
