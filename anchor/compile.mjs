// Compiles the contracts in solidity to contracts/*.json, an ABI and bytecode
// each: npm ci && node compile.mjs, or go generate.
import { mkdirSync, readFileSync, readdirSync, writeFileSync } from "node:fs";
import solc from "solc";

// What is shipped, and what tests alone deploy.
const contracts = [
  ["Anchor.sol", "Anchor", "contracts"],
  ["Tile.sol", "Tile", "contracts"],
  ["test/Probe.sol", "Probe", "testdata"],
];

const dir = new URL("solidity/", import.meta.url);
const files = [...readdirSync(dir), ...readdirSync(new URL("test/", dir)).map((f) => "test/" + f)].filter((f) => f.endsWith(".sol"));
const input = {
  language: "Solidity",
  sources: Object.fromEntries(files.map((f) => [f, { content: readFileSync(new URL(f, dir), "utf8") }])),
  settings: {
    // Paris: chains that lack newer instructions run it, too.
    evmVersion: "paris",
    viaIR: true,
    optimizer: { enabled: true, runs: 10000 },
    metadata: { bytecodeHash: "none", appendCBOR: false },
    outputSelection: { "*": { "*": ["abi", "evm.bytecode.object", "evm.deployedBytecode.object"] } },
  },
};
const output = JSON.parse(solc.compile(JSON.stringify(input)));
for (const e of output.errors ?? []) console.error(e.formattedMessage);
if (output.errors?.some((e) => e.severity === "error" || e.severity === "warning")) process.exit(1);
for (const [file, name, to] of contracts) {
  const c = output.contracts[file][name];
  const size = c.evm.deployedBytecode.object.length / 2;
  if (size > 24576) {
    console.error(`${name} has ${size} bytes, and a chain takes 24576`);
    process.exit(1);
  }
  const out = new URL(to + "/", import.meta.url);
  mkdirSync(out, { recursive: true });
  const text = JSON.stringify({ generated: `by compile.mjs with solc ${solc.version()}; do not edit`, abi: c.abi, bytecode: "0x" + c.evm.bytecode.object }, null, 1);
  writeFileSync(new URL(name + ".json", out), text + "\n");
}
