// spec/beacon.md written again, from its words, on another library. Usage:
// node beacon.mjs ../../../spec/vectors/beacon.json
import { readFileSync } from 'node:fs';
import { createHash, hkdfSync } from 'node:crypto';
import { bls12_381 as bls } from '@noble/curves/bls12-381.js';
import { hash_to_field } from '@noble/curves/abstract/hash-to-curve.js';
import { sha256 } from '@noble/hashes/sha2.js';

const r = bls.fields.Fr.ORDER;
const G1 = bls.G1.Point, G2 = bls.G2.Point;
const hex = (h) => Uint8Array.from(Buffer.from(h, 'hex'));
const toHex = (b) => Buffer.from(b).toString('hex');
const cat = (...p) => Uint8Array.from(Buffer.concat(p));
const u8 = (...n) => Uint8Array.from(n);
const u64 = (n) => { const b = Buffer.alloc(8); b.writeBigUInt64BE(BigInt(n)); return Uint8Array.from(b); };
const mod = (x) => ((x % r) + r) % r;
const num = (b) => BigInt('0x' + toHex(b));
const bytes32 = (x) => hex(x.toString(16).padStart(64, '0'));
const text = (s) => new TextEncoder().encode(s);

const sum = (purpose, ...parts) => {
  const h = createHash('sha256').update(u8(purpose.length)).update(purpose);
  for (const p of parts) h.update(u64(p.length)).update(p);
  return Uint8Array.from(h.digest());
};
const H = (h) => hash_to_field(h, 1, { DST: 'aval beacon scalar/1', p: r, m: 1, k: 128, expand: 'xmd', hash: sha256 })[0][0];
const P = (h) => bls.G1.hashToCurve(h, { DST: 'BLS_SIG_BLS12381G1_XMD:SHA-256_SSWU_RO_NUL_' });

class Refused extends Error {}
const refuse = (why) => { throw new Refused(why); };
const encoding = (f) => { try { return f(); } catch (e) { if (e instanceof Refused) throw e; refuse('encoding'); } };
const scalar = (b) => { const x = num(b); return x < r ? x : refuse('encoding'); };
const point = (C, b) => encoding(() => {
  if (!(b[0] & 0x80)) refuse('encoding');
  const p = C.fromBytes(b);
  p.assertValidity();
  if (p.is0() || !p.isTorsionFree() || toHex(p.toBytes(true)) !== toHex(b)) refuse('encoding');
  return p;
});
const mul = (p, x) => (x === 0n ? p.multiplyUnsafe(0n) : p.multiply(x));
const cut = (b, ...sizes) => {
  if (b.length !== sizes.reduce((x, y) => x + y, 0)) refuse('encoding');
  let at = 0;
  return sizes.map((n) => b.subarray(at, (at += n)));
};
const pair2 = (a, b, c, d) => bls.fields.Fp12.eql(bls.pairing(a, b), bls.pairing(c, d));

const secret = (seed) => num(new Uint8Array(hkdfSync('sha256', seed, new Uint8Array(0), text('aval beacon key/1'), 48))) % r;

function registration(id, b) {
  const [X, c0, z0] = cut(b, 48, 32, 32);
  const x = point(G1, X), c = scalar(c0), z = scalar(z0);
  const R = mul(G1.BASE, z).subtract(mul(x, c));
  if (H(sum('aval beacon registration/1', id, X, R.toBytes(true))) !== c) refuse('proof');
  return X;
}

class Group {
  constructor(chain, epoch, members) {
    Object.assign(this, { chain, epoch, members, n: members.length });
    const total = members.reduce((s, m) => s + m.power, 0);
    let weak = 0;
    this.f = members.map((m) => m.power).sort((a, b) => a - b).filter((p) => 3 * (weak += p) < total).length;
    if (this.n <= 3 * this.f) refuse('power');
    this.t = this.n - 2 * this.f;
    this.keys = members.map((m) => point(G1, m.key));
    this.digest = sum('aval beacon group/1', text(chain), u64(epoch), cat(...members.flatMap((m) => [m.id, m.key, u64(m.power)])));
  }
  pad(d, i, E, S) { return H(sum('aval beacon pad/1', this.digest, u8(d, i), E.toBytes(true), S.toBytes(true))); }
  dealing(b) {
    const [d0, E0, ...rest] = cut(b, 1, 48, ...Array(this.t).fill(96), ...Array(this.n).fill(32), 32, 32, 32, 32);
    const d = d0[0];
    if (d >= this.n) refuse('encoding');
    const E = point(G1, E0), A = rest.slice(0, this.t).map((p) => point(G2, p));
    const v = rest.slice(this.t, this.t + this.n).map(scalar), [c, z1, z2, z3] = rest.slice(this.t + this.n).map(scalar);
    const r1 = mul(G1.BASE, z1).subtract(mul(E, c)), r2 = mul(G2.BASE, z2).subtract(mul(A[0], c)), r3 = mul(G1.BASE, z3).subtract(mul(this.keys[d], c));
    const want = H(sum('aval beacon dealing/1', this.digest, b.subarray(0, b.length - 128), r1.toBytes(true), r2.toBytes(true), r3.toBytes(true)));
    if (want !== c) refuse('proof');
    return { d, E, A, v, hash: sum('aval beacon dealing hash/1', this.digest, b) };
  }
  at(points, i) { return points.reduceRight((acc, p) => mul(acc, BigInt(i + 1)).add(p), points[0].subtract(points[0])); }
  right(D, i, S) { return mul(G2.BASE, mod(D.v[i] - this.pad(D.d, i, D.E, S))).equals(this.at(D.A, i)); }
  judge(D, b) {
    const [who, S0, c0, z0] = cut(b, 2, 48, 32, 32), [d, i] = who;
    if (d !== D.d || i >= this.n || i === d) refuse('encoding');
    const S = point(G1, S0), c = scalar(c0), z = scalar(z0);
    const r1 = mul(G1.BASE, z).subtract(mul(this.keys[i], c)), r2 = mul(D.E, z).subtract(mul(S, c));
    if (H(sum('aval beacon complaint/1', D.hash, u8(i), S0, r1.toBytes(true), r2.toBytes(true))) !== c) refuse('proof');
    return this.right(D, i, S) ? i : d;
  }
  combine(ds) {
    const mask = new Uint8Array(16);
    for (const D of ds) mask[D.d >> 3] |= 1 << (D.d & 7);
    const C = ds.map((D) => D.A).reduce((a, b) => a.map((p, j) => p.add(b[j])));
    const w = ds.map((D) => D.v).reduce((a, b) => a.map((x, j) => mod(x + b[j])));
    return cat(mask, ...ds.map((D) => D.E.toBytes(true)), ...C.map((p) => p.toBytes(true)), ...w.map(bytes32));
  }
  key(b) {
    if (b.length < 16) refuse('encoding');
    const dealers = [...Array(128).keys()].filter((i) => b[i >> 3] >> (i & 7) & 1);
    if (dealers.length < this.t || dealers.at(-1) >= this.n) refuse('encoding');
    const parts = cut(b, 16, ...dealers.map(() => 48), ...Array(this.t).fill(96), ...Array(this.n).fill(32)).slice(1);
    const E = parts.slice(0, dealers.length).map((p) => point(G1, p)), C = parts.slice(dealers.length, dealers.length + this.t).map((p) => point(G2, p));
    return { dealers, E, C, w: parts.slice(dealers.length + this.t).map(scalar), hash: sum('aval beacon group key/1', this.digest, b) };
  }
  share(k, i, x) { return mod(k.dealers.reduce((s, d, j) => s - this.pad(d, i, k.E[j], mul(k.E[j], x)), k.w[i])); }
  message(round) { return sum('aval beacon round/1', text(this.chain), u64(this.epoch), u64(round)); }
  checkShare(k, message, b) {
    const [i0, p0] = cut(b, 1, 48), i = i0[0];
    if (i >= this.n) refuse('encoding');
    if (!pair2(point(G1, p0), G2.BASE, P(message), this.at(k.C, i))) refuse('signature');
  }
  verify(k, round, b) { if (!pair2(point(G1, cut(b, 48)[0]), G2.BASE, P(this.message(round)), k.C[0])) refuse('signature'); }
}

const v = JSON.parse(readFileSync(process.argv[2]));
let checks = 0, wrong = 0;
const check = (what, ok) => { checks++; if (!ok) { wrong++; console.log('WRONG', what); } };
const inv = (x) => bls.fields.Fr.inv(mod(x));

const secrets = v.seeds.map((s) => secret(hex(s)));
v.registrations.forEach((q) => check('registration', toHex(registration(hex(q.identity), hex(q.registration))) === toHex(mul(G1.BASE, secrets[q.seed]).toBytes(true))));
const made = v.groups.map((g) => {
  const group = new Group(g.chain, g.epoch, g.members.map((m, i) => ({ power: g.powers[i], id: hex(v.registrations[m].identity), key: hex(v.registrations[m].registration).subarray(0, 48) })));
  check('digest', toHex(group.digest) === g.digest);
  const ds = g.dealings.map((d) => group.dealing(hex(d.dealing)));
  g.dealings.forEach((d, j) => g.members.forEach((m, i) => check('right', group.right(ds[j], i, mul(ds[j].E, secrets[m])) === !(d.wrong ?? []).includes(i))));
  const about = ds[g.dealings.findIndex((d) => d.wrong)];
  (g.complaints ?? []).forEach((c) => check('complaint', group.judge(about, hex(c.complaint)) === c.guilty));
  check('key', toHex(group.combine(g.stand.map((i) => ds[i]))) === g.key);
  const k = group.key(hex(g.key)), message = group.message(g.round);
  check('public', toHex(k.C[0].toBytes(true)) === g.public);
  const shares = g.members.map((m, i) => {
    const s = group.share(k, i, secrets[m]);
    check('public share', mul(G2.BASE, s).equals(group.at(k.C, i)));
    const p = mul(P(message), s);
    check('share', toHex(cat(u8(i), p.toBytes(true))) === g.shares[i]);
    check('confirmation', toHex(cat(u8(i), mul(P(sum('aval beacon confirmation/1', k.hash)), s).toBytes(true))) === g.confirmations[i]);
    group.checkShare(k, message, hex(g.shares[i]));
    return p;
  });
  const places = shares.map((_, i) => BigInt(i + 1)).slice(-group.t);
  const sig = places.map((i) => mul(shares[Number(i) - 1], places.filter((j) => j !== i).reduce((l, j) => mod(l * j * inv(j - i)), 1n))).reduce((a, b) => a.add(b));
  check('signature', toHex(sig.toBytes(true)) === g.signature);
  group.verify(k, g.round, hex(g.signature));
  check('output', toHex(sum('aval beacon output/1', hex(g.signature))) === g.output);
  return { group, k, about, g };
});
const four = made.find((m) => m.group.n === 4);
const take = {
  registration: (b) => registration(hex(v.registrations[0].identity), b),
  dealing: (b) => four.group.dealing(b),
  complaint: (b) => four.group.judge(four.about, b),
  key: (b) => four.group.key(b),
  share: (b) => four.group.checkShare(four.k, four.group.message(four.g.round), b),
  signature: (b) => four.group.verify(four.k, four.g.round, b),
  'group key': (b) => point(G2, b),
};
for (const q of v.refused) {
  let why = 'taken';
  try { take[q.kind](hex(q.data)); } catch (e) { why = e instanceof Refused ? e.message : e.stack; }
  check(`${q.kind}, ${q.name}: ${why}, want ${q.check}`, why === q.check);
}
console.log(`${checks} checks, ${wrong} wrong`);
process.exit(wrong ? 1 : 0);
