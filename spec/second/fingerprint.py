"""A second implementation of fingerprint.md, to check that the text is enough.

    python3 fingerprint.py root PART.gguf...
    python3 fingerprint.py vectors VECTORS.json
    python3 fingerprint.py judge VECTORS.json

The first prints the fingerprint of a model, of a split one given all parts in
order. The second checks a file of vectors: the root of each file, and each
proof, with what it shows or with the number of the check that refuses it. The
third prints this number for each proof, 0 if none does. It needs the standard
library only, reads a file as a whole, and is slow.
"""

import hashlib
import json
import struct
import sys

sys.dont_write_bytecode = True

STRING, ARRAY = 8, 9
WIDTH = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}  # by kind
BOOL = 7

# Section 4: type: elements of a block, bytes of a block.
TYPES = {
    0: (1, 4), 1: (1, 2), 2: (32, 18), 3: (32, 20), 6: (32, 22), 7: (32, 24), 8: (32, 34), 10: (256, 84),
    11: (256, 110), 12: (256, 144), 13: (256, 176), 14: (256, 210), 20: (32, 18), 23: (256, 136), 30: (1, 2),
}


# Trees and hashes.


def sha(data):
    return hashlib.sha256(data).digest()


def leaf(value):
    return sha(b"\0" + value)


def half(n):
    k = 1
    while 2 * k < n:
        k *= 2
    return k


def root_of(leaves):
    """The root over leaf hashes."""
    if not leaves:
        return sha(b"")
    if len(leaves) == 1:
        return leaves[0]
    k = half(len(leaves))
    return sha(b"\1" + root_of(leaves[:k]) + root_of(leaves[k:]))


def tree(values):
    return root_of([leaf(v) for v in values])


def total(purpose, *parts):
    """Sum of the text."""
    data = bytes([len(purpose)]) + purpose.encode()
    return sha(data + b"".join(struct.pack(">Q", len(p)) + p for p in parts))


def model_root(meta, m, tensors, t):
    return total("aval model/1", meta, struct.pack("<Q", m), tensors, struct.pack("<Q", t))


# CBOR: integers from 0 on, bytes, text, arrays and maps.


def head(major, n):
    for i, (limit, form) in enumerate(((1 << 8, ">B"), (1 << 16, ">H"), (1 << 32, ">I"), (1 << 64, ">Q"))):
        if n < 24:
            return bytes([major << 5 | n])
        if n < limit:
            return bytes([major << 5 | 24 + i]) + struct.pack(form, n)


def encode(v):
    if isinstance(v, int):
        return head(0, v)
    if isinstance(v, bytes):
        return head(2, len(v)) + v
    if isinstance(v, str):
        v = v.encode()
        return head(3, len(v)) + v
    return head(4, len(v)) + b"".join(map(encode, v))


class Refused(Exception):
    """Which check of section 5 fails."""

    def __init__(self, check, why):
        super().__init__(f"check {check}: {why}")
        self.check = check


def need(check, condition, why):
    if not condition:
        raise Refused(check, why)


def decode(data, check):
    """The one item that data is."""

    def item(at):
        need(check, at < len(data), "cut")
        major, low = data[at] >> 5, data[at] & 31
        at += 1
        n = low
        if low >= 24:
            need(check, low < 28, "an indefinite length, or none")
            size = 1 << (low - 24)
            need(check, at + size <= len(data), "cut")
            n = int.from_bytes(data[at : at + size], "big")
            at += size
            need(check, n >= (24 if size == 1 else 1 << 4 * size), "a number longer than needed")
        if major == 0:
            return n, at
        if major in (2, 3):
            need(check, n <= len(data) - at, "cut")
            v = data[at : at + n]
            if major == 3:
                try:
                    v = v.decode()
                except UnicodeDecodeError:
                    raise Refused(check, "text that is not UTF-8") from None
            return v, at + n
        if major == 4:
            need(check, n <= len(data) - at, "cut")
            v = []
            for _ in range(n):
                x, at = item(at)
                v.append(x)
            return v, at
        if major == 5:
            v, last = {}, -1
            for _ in range(n):
                k, at = item(at)
                need(check, isinstance(k, int) and k > last, "keys of a map")
                v[k], at = item(at)
                last = k
            return v, at
        raise Refused(check, "null, a float, a tag or a negative number")

    v, at = item(0)
    need(check, at == len(data), "bytes after the end")
    return v


def form(check, v, *kinds):
    """Refuses anything but a list of items of these kinds."""
    need(check, isinstance(v, list) and len(v) == len(kinds), f"want {len(kinds)} items")
    for x, kind in zip(v, kinds):
        need(check, isinstance(x, kind), f"{x!r} is no {kind.__name__}")
    return v


# Values as a file has them.


def element_size(kind, data, at, check, depth=1):
    """The bytes of an element of an array at data[at:]."""
    if kind in WIDTH:
        size = WIDTH[kind]
    elif kind == STRING:
        need(8, at + 8 <= len(data), "cut")
        size = 8 + struct.unpack_from("<Q", data, at)[0]
    else:
        need(check, kind == ARRAY, "an element kind that does not exist")
        need(8, at + 12 <= len(data), "cut")
        elem, count = struct.unpack_from("<IQ", data, at)
        need(check, depth < 4, "arrays nested too deep")
        need(check, elem in WIDTH or elem in (STRING, ARRAY), "an element kind that does not exist")
        end = at + 12
        for _ in range(count):
            end += element_size(elem, data, end, check, depth + 1)
        size = end - at
    need(8, at + size <= len(data), "cut")
    if kind == BOOL:
        need(check, data[at] <= 1, "a bool that is neither 0 nor 1")
    return size


def array_size(elem, count, data, at, check):
    end = at
    for _ in range(count):
        end += element_size(elem, data, end, check)
    return end - at


# Section 3.


def piece_count(kind, count, size):
    return -(-size // 4096) if kind == STRING else -(-count // 64)


def cut(kind, elem, count, size, start, data):
    """The pieces from number start on that data consists of."""
    pieces, at = [], 0
    while at < len(data):
        number = start + len(pieces)
        need(8, number < piece_count(kind, count, size), "bytes after the last piece")
        if kind == STRING:
            n = min(4096, size - number * 4096)
        else:
            n = array_size(elem, min(64, count - number * 64), data, at, 9)
        need(8, at + n <= len(data), "a part of a piece")
        pieces.append(data[at : at + n])
        at += n
    return pieces


# Section 2.


def meta_entry(key, kind, elem, count, content):
    size = len(content)
    if size > 1024:
        content = tree(cut(kind, elem, count, size, 0, content))
    return encode([key, kind, elem, count, size, content])


def left_out(key):
    return key == "general.alignment" or key.startswith("split.")


# Section 4.


class Tiling:
    def __init__(self, typ, shape):
        self.elems, self.bytes = TYPES[typ]
        self.cols, self.rows = shape[0], 1
        for d in shape[1:]:
            self.rows *= d
        self.row_bytes = self.cols // self.elems * self.bytes
        chunk = 1024 if self.elems == 1 else 6144
        if self.cols <= chunk:
            self.r = max(r for r in (1, 2, 4, 8, 16) if r == 1 or r * self.row_bytes <= 8192)
            self.chunks, self.chunk_bytes = 1, self.row_bytes
        else:
            self.r = 1
            self.chunks, self.chunk_bytes = -(-self.cols // chunk), chunk // self.elems * self.bytes
        self.tiles = -(-self.rows // self.r) * self.chunks

    def size(self, i):
        row, chunk = i // self.chunks * self.r, i % self.chunks
        return min(self.r, self.rows - row) * min(self.chunk_bytes, self.row_bytes - chunk * self.chunk_bytes)

    def cut(self, start, data):
        tiles, at = [], 0
        while at < len(data):
            need(8, start + len(tiles) < self.tiles, "bytes after the last tile")
            n = self.size(start + len(tiles))
            need(8, at + n <= len(data), "a part of a tile")
            tiles.append(data[at : at + n])
            at += n
        return tiles


def tensor_entry(name, typ, shape, data):
    return encode([name, typ, shape, tree(Tiling(typ, shape).cut(0, data))])


# Files.


class File:
    """The metadata (key: kind, element kind, count, content) and tensors
    (name: type, shape, bytes) of a part."""

    def __init__(self, data):
        if data[:4] != b"GGUF" or struct.unpack_from("<I", data, 4)[0] not in (2, 3):
            raise ValueError("not a GGUF file of version 2 or 3")
        self.data, self.at = data, 8
        tensors, keys = self.scalars("<QQ")
        self.meta, self.tensors = {}, {}
        for _ in range(keys):
            key = self.string().decode()
            if key in self.meta:
                raise ValueError(f"{key} twice")
            self.meta[key] = self.value()
        infos = []
        for _ in range(tensors):
            name = self.string().decode()
            shape = list(self.scalars("<" + "Q" * self.scalars("<I")[0])) or [1]
            infos.append((name, shape, *self.scalars("<IQ")))
        align = self.meta.get("general.alignment", (4, 0, 0, struct.pack("<I", 32)))[3]
        align = struct.unpack("<I", align)[0]
        base = -(-self.at // align) * align
        for name, shape, typ, offset in infos:
            t = Tiling(typ, shape)
            if name in self.tensors:
                raise ValueError(f"{name} twice")
            self.tensors[name] = typ, shape, data[base + offset :][: t.rows * t.row_bytes]

    def scalars(self, fmt):
        v = struct.unpack_from(fmt, self.data, self.at)
        self.at += struct.calcsize(fmt)
        return v

    def string(self):
        return self.bytes(self.scalars("<Q")[0])

    def bytes(self, n):
        self.at += n
        return self.data[self.at - n : self.at]

    def value(self):
        kind = self.scalars("<I")[0]
        if kind == STRING:
            return kind, 0, 0, self.string()
        if kind == ARRAY:
            elem, count = self.scalars("<IQ")
            return kind, elem, count, self.bytes(array_size(elem, count, self.data, self.at, 9))
        return kind, 0, 0, self.bytes(WIDTH[kind])


def fingerprint(parts):
    files = [File(p) for p in parts]
    meta = [meta_entry(k, *v) for k, v in by_bytes(files[0].meta) if not left_out(k)]
    tensors = {}
    for f in files:
        if tensors.keys() & f.tensors.keys():
            raise ValueError("a tensor in two parts")
        tensors.update(f.tensors)
    entries = [tensor_entry(k, *v) for k, v in by_bytes(tensors)]
    return model_root(tree(meta), len(meta), tree(entries), len(entries))


def by_bytes(table):
    return sorted(table.items(), key=lambda kv: kv[0].encode())


# Section 5.


def range_root(check, n, start, leaves, hashes):
    """The root of a tree of n leaves, of which some are known."""
    need(check, len(hashes) % 32 == 0, "half a hash")
    rest = [hashes[i : i + 32] for i in range(0, len(hashes), 32)]
    end = start + len(leaves)

    def walk(lo, hi):
        if hi <= start or lo >= end:
            need(check, rest, "a hash is missing")
            return rest.pop(0)
        if lo >= start and hi <= end:
            return root_of(leaves[lo - start : hi - start])
        mid = lo + half(hi - lo)
        left = walk(lo, mid)
        return sha(b"\1" + left + walk(mid, hi))

    root = walk(0, n)
    need(check, not rest, "hashes left over")
    return root


def read_meta(data):
    e = key, kind, elem, count, size, content = form(5, decode(data, 5), str, int, int, int, int, bytes)
    need(5, 1 <= len(key.encode()) < 1 << 16 and not left_out(key), "the key")
    need(5, kind in WIDTH or kind in (STRING, ARRAY), "the kind")
    need(5, size <= 1 << 29 and count <= 1 << 26, "size or count")
    need(5, kind == ARRAY or elem == count == 0, "elements of what is no array")
    need(5, elem in WIDTH or elem in (STRING, ARRAY), "the element kind")
    if size > 1024:
        need(5, kind in (STRING, ARRAY) and len(content) == 32, "a long value")
        if kind == ARRAY and elem in WIDTH:
            need(5, size == count * WIDTH[elem], "the size")
        elif kind == ARRAY:
            need(5, count > 0 and size >= count * (8 if elem == STRING else 12), "the size")
        return key, e
    need(5, len(content) == size, "the size")
    try:
        if kind == ARRAY:
            need(5, array_size(elem, count, content, 0, 5) == size, "bytes too many")
        elif kind != STRING:
            need(5, size == WIDTH[kind] and (kind != BOOL or content[0] <= 1), "the number")
    except Refused as r:
        raise Refused(5, r) from None
    return key, e


def read_tensor(data):
    e = name, typ, shape, root = form(5, decode(data, 5), str, int, list, bytes)
    need(5, 1 <= len(name.encode()) <= 256, "the name")
    need(5, typ in TYPES, "the type")
    product = 1
    for d in shape:
        need(5, isinstance(d, int) and d > 0, "a dimension")
        product *= d
    need(5, 1 <= len(shape) <= 4 and product <= 1 << 40 and shape[0] % TYPES[typ][0] == 0, "the shape")
    need(5, len(root) == 32, "the root")
    return name, e


class Side:
    """The entries that are shown of a tree: names and entries by place."""

    def __init__(self, side, limit, read):
        self.count, self.root, spans = form(1, side, int, bytes, list)
        for s in spans:
            for e in form(1, s, int, list, bytes)[1]:
                need(1, isinstance(e, bytes), "an entry that is not bytes")
        need(2, self.count <= limit and len(spans) <= 1024, "too many entries or spans")
        need(3, len(self.root) == (0 if spans else 32), "spans or a root")
        need(3, self.count > 0 or self.root == sha(b""), "the root of nothing")
        end = -1
        for start, entries, _ in spans:
            need(4, entries and start > end and start + len(entries) <= self.count, "places of a span")
            end = start + len(entries)
        self.shown = {s[0] + i: read(e) for s in spans for i, e in enumerate(s[1])}
        names = [name.encode() for name, _ in self.shown.values()]
        need(6, all(a < b for a, b in zip(names, names[1:])), "the order of names")
        roots = {range_root(7, self.count, s, [leaf(e) for e in es], hs) for s, es, hs in spans}
        need(7, len(roots) <= 1, "spans of two trees")
        if roots:
            self.root = roots.pop()

    def names(self):
        return [name for name, _ in self.shown.values()]

    def none(self, matches, start):
        """Whether no other entries match than those shown; start sorts before
        all that match."""
        place = -1  # of the last entry known to be before
        for p, (name, _) in self.shown.items():
            if name.encode() < start.encode():
                place = p
        place += 1
        while place in self.shown and matches(self.shown[place][0]):
            place += 1
        before = place == 0 or place - 1 in self.shown
        return before and (place == self.count or place in self.shown)

    def absent(self, name):
        return name not in self.names() and self.none(lambda _: False, name)

    def all(self, prefix):
        return self.none(lambda name: name.startswith(prefix), prefix)


class Proof:
    """What a proof shows: two sides, contents and tiles by name and number."""

    def __init__(self, data, root):
        need(1, len(data) <= 1 << 26, "too long")
        top = decode(data, 1)
        need(1, isinstance(top, dict) and {1, 2} <= top.keys() <= {1, 2, 3, 4}, "the map")
        contents, tiles = top.get(3, []), top.get(4, [])
        for key, runs in ((3, contents), (4, tiles)):
            need(1, isinstance(runs, list) and (runs or key not in top), "runs")
            for r in runs:
                form(1, r, int, int, bytes, bytes)
            need(2, len(runs) <= 1 << 16, "too many runs")
        self.meta = Side(top[1], 1 << 16, read_meta)
        self.tensors = Side(top[2], 1 << 18, read_tensor)
        got = model_root(self.meta.root, self.meta.count, self.tensors.root, self.tensors.count)
        need(7, got == root, "another model")
        self.contents, self.tiles = [], []
        ends = {}
        for run in contents:
            self.content(run, ends)
        ends = {}
        for run in tiles:
            self.tile(run, ends)

    def run(self, run, side, ends, n, pieces, root):
        place, start, data, hashes = run
        need(8, data and start < n, "no pieces, or after the last")
        last = max(ends, default=-1)
        need(8, place > last or place == last and start > ends[place], "the order of runs")
        pieces = pieces(start, data)
        ends[place] = start + len(pieces)
        need(8, range_root(8, n, start, [leaf(p) for p in pieces], hashes) == root, "the root")
        return pieces

    def content(self, run, ends):
        place, start, data, _ = run
        need(8, place in self.meta.shown, "the entry is not shown")
        key, (_, kind, elem, count, size, root) = self.meta.shown[place]
        need(8, size > 1024, "a short value")
        n = piece_count(kind, count, size)
        pieces = self.run(run, self.meta, ends, n, lambda s, d: cut(kind, elem, count, size, s, d), root)
        whole = len(pieces) == n
        need(9, not whole or len(data) == size, "the size of all pieces")
        need(9, whole or kind == ARRAY, "a part of a string")
        shown = min(count - start * 64, len(pieces) * 64) if kind == ARRAY else 0
        self.contents.append({"key": key, "from": start * 64 if shown else 0, "count": shown, "sha256": sha(data).hex()})

    def tile(self, run, ends):
        place, start, _, _ = run
        need(8, place in self.tensors.shown, "the entry is not shown")
        name, (_, typ, shape, root) = self.tensors.shown[place]
        t = Tiling(typ, shape)
        for i, b in enumerate(self.run(run, self.tensors, ends, t.tiles, t.cut, root)):
            self.tiles.append({"tensor": name, "number": start + i, "sha256": sha(b).hex()})

    def compare(self, shows):
        """What differs from what the proof should show."""
        wrong = []
        for name, got in (
            ("keys", self.meta.names()), ("tensors", self.tensors.names()), ("contents", self.contents), ("tiles", self.tiles),
        ):
            if got != shows[name]:
                wrong.append(f"{name} are {got}, want {shows[name]}")
        for question, answer, want in (
            ("no_keys", self.meta.absent, True), ("no_tensors", self.tensors.absent, True),
            ("all_keys", self.meta.all, True), ("all_tensors", self.tensors.all, True),
            ("open_keys", self.meta.absent, False), ("open_all_keys", self.meta.all, False),
        ):
            wrong += [f"{question} {x!r}" for x in shows.get(question, []) if answer(x) != want]
        wrong += [f"{x!r} is shown" for x in shows.get("open_keys", []) if x in self.meta.names()]
        return wrong


def judge(p):
    """A proof, or the check that refuses it and why."""
    try:
        return Proof(bytes.fromhex(p["proof"]), bytes.fromhex(p["root"])), 0, "it is accepted"
    except Refused as r:
        return None, r.check, str(r)


def check_vectors(vectors):
    wrong = []
    for f in vectors["files"]:
        got = fingerprint([bytes.fromhex(p) for p in f["parts"]]).hex()
        if got != f["root"]:
            wrong.append(f"{f['name']}: root {got}, want {f['root']}")
    for p in vectors["proofs"]:
        proof, check, why = judge(p)
        if check != p.get("check", 0):
            wrong.append(f"{p['name']}: {why}, want check {p.get('check', 0)}")
        elif check == 0:
            wrong += [f"{p['name']}: {w}" for w in proof.compare(p["shows"])]
    return wrong


def main(args):
    if len(args) >= 2 and args[0] == "root":
        parts = []
        for path in args[1:]:
            with open(path, "rb") as f:
                parts.append(f.read())
        print(fingerprint(parts).hex())
    elif len(args) == 2 and args[0] == "vectors":
        with open(args[1], encoding="utf-8") as f:
            vectors = json.load(f)
        wrong = check_vectors(vectors)
        print("\n".join(wrong) if wrong else f"{len(vectors['files'])} files and {len(vectors['proofs'])} proofs are right")
        return 1 if wrong else 0
    elif len(args) == 2 and args[0] == "judge":
        with open(args[1], encoding="utf-8") as f:
            print(*(judge(p)[1] for p in json.load(f)["proofs"]))
    else:
        print(__doc__, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
