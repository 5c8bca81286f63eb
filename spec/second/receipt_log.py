"""A second implementation of receipt-log.md, to check that the text is enough.

    python3 receipt_log.py ../vectors/receipt-log.json

checks the vectors and prints those that it judges otherwise; it exits with 1
if there are any. Standard library only; Ed25519 is that of receipt.py. It signs
nothing.
"""

import base64
import hashlib
import json
import re
import sys

from receipt import Fail, leaf, need, root, sha, verify

MAX_SIZE = 1 << 40


def entry(i):
    return sha(i.to_bytes(8, "big"))


def log_root(entries):
    return root([leaf(e) for e in entries]) if entries else sha()


# 2. RFC 9162, sections 2.1.3.2 and 2.1.4.2.


def check_inclusion(top, size, index, entry, proof):
    need(index < size <= MAX_SIZE, "range")
    fn, sn, r = index, size - 1, leaf(entry)
    for p in proof:
        need(sn > 0, "proof")
        if fn & 1 or fn == sn:
            r = sha(b"\1", p, r)
            while not fn & 1 and fn:
                fn, sn = fn >> 1, sn >> 1
        else:
            r = sha(b"\1", r, p)
        fn, sn = fn >> 1, sn >> 1
    need(sn == 0 and r == top, "proof")


def check_consistency(first, first_hash, second, second_hash, proof):
    need(first <= second <= MAX_SIZE, "range")
    if first in (0, second):
        need(not proof, "proof")
        need(first_hash == (second_hash if first == second else sha()), "proof")
        return
    if first & (first - 1) == 0 and proof:
        proof = [first_hash] + proof
    need(proof, "proof")
    fn, sn = first - 1, second - 1
    while fn & 1:
        fn, sn = fn >> 1, sn >> 1
    fr = sr = proof[0]
    for c in proof[1:]:
        need(sn > 0, "proof")
        if fn & 1 or fn == sn:
            fr, sr = sha(b"\1", c, fr), sha(b"\1", c, sr)
            while not fn & 1 and fn:
                fn, sn = fn >> 1, sn >> 1
        else:
            sr = sha(b"\1", sr, c)
        fn, sn = fn >> 1, sn >> 1
    need(fr == first_hash and sr == second_hash and sn == 0, "proof")


# 3. Checkpoints.


def number(s):
    need(re.fullmatch("0|[1-9][0-9]*", s) and int(s) <= MAX_SIZE, "format")
    return int(s)


def unhash(s):
    try:
        b = base64.b64decode(s, validate=True)
    except ValueError:
        raise Fail("format") from None
    need(len(b) == 32 and base64.b64encode(b).decode() == s, "format")
    return b


def check_checkpoint(key, note):
    need(len(note.encode()) <= 16 << 10, "format")
    text, sep, signatures = note.partition("\n\n")
    lines = text.split("\n")
    need(sep and len(lines) == 3, "format")
    origin = "aval-receipts-1/" + key.hex()
    need(lines[0] == origin, "format")
    size, top = number(lines[1]), unhash(lines[2])
    if "\n\n" in signatures:  # the text of the note goes on to the last empty line
        raise Fail("format")
    key_id = sha(origin.encode(), b"\n\1", key)[:4]
    need(signatures.endswith("\n"), "signature")
    found = False
    for line in signatures[:-1].split("\n"):
        m = re.fullmatch("— ([^ +]+) ([A-Za-z0-9+/]+=*)", line)
        need(m, "signature")
        try:
            b = base64.b64decode(m[2], validate=True)
        except ValueError:
            raise Fail("signature") from None
        need(len(b) > 4, "signature")
        if m[1] == origin and b[:4] == key_id:
            need(len(b) == 68, "signature")
            verify(key, (text + "\n").encode(), b[4:])
            found = True
    need(found, "signature")
    return size, top


# 5. Proofs as files.


def check_proof(key, receipt, text):
    need(len(text.encode()) <= 24 << 10, "format")
    head, sep, checkpoint = text.partition("\n\n")
    lines = head.split("\n")
    need(sep and lines[0] == "c2sp.org/tlog-proof@v1", "format")
    lines = lines[1:]
    if lines and lines[0].startswith("extra "):
        lines = lines[1:]
    need(lines and lines[0].startswith("index ") and len(lines) <= 42, "format")
    index = number(lines[0][len("index ") :])
    hashes = [unhash(h) for h in lines[1:]]
    size, top = check_checkpoint(key, checkpoint)
    check_inclusion(top, size, index, receipt, hashes)


# 4. Tiles.


def tile(path, size):
    """What is in a tile of the vectors' log."""
    m = re.fullmatch(r"tile/([0-5]|entries)/((?:x\d{3}/)*)(\d{3})(?:\.p/([1-9]\d{0,2}))?", path)
    need(m and not m[2].startswith("x000") and int(m[4] or 1) < 256, "format")
    index = int("".join(re.findall(r"\d{3}", m[2])) + m[3])
    first, width = 256 * index, int(m[4] or 256)
    if m[1] == "entries":
        assert first + width <= size
        return b"".join(b"\0\x20" + entry(i) for i in range(first, first + width))
    span = 256 ** int(m[1])
    assert (first + width) * span <= size
    return b"".join(log_root([entry(j) for j in range(i * span, (i + 1) * span)]) for i in range(first, first + width))


def failed(f, *args):
    try:
        f(*args)
    except Fail as e:
        return e.args[0]
    return ""


def main(path):
    h = bytes.fromhex
    with open(path, encoding="utf-8") as f:
        vectors = json.load(f)
    bad, count = [], 0

    def judge(name, got, want):
        nonlocal count
        count += 1
        if got != want:
            bad.append(f"{name}: {got!r}, want {want!r}")

    for v in vectors["roots"]:
        judge(f"root of {v['size']}", log_root([entry(i) for i in range(v["size"])]).hex(), v["root"])
    for v in vectors["inclusion"]:
        proof = [h(p) for p in v["proof"] or []]
        judge("inclusion, " + v["name"], failed(check_inclusion, h(v["root"]), v["size"], v["index"], h(v["entry"]), proof), v.get("fails", ""))
    for v in vectors["consistency"]:
        proof = [h(p) for p in v["proof"]]
        args = v["old_size"], h(v["old_root"]), v["new_size"], h(v["new_root"]), proof
        judge("consistency, " + v["name"], failed(check_consistency, *args), v.get("fails", ""))
    for v in vectors["checkpoints"]:
        judge("checkpoint, " + v["name"], failed(check_checkpoint, h(v["key"]), v["text"]), v.get("fails", ""))
        if "fails" not in v:
            judge("checkpoint, " + v["name"], check_checkpoint(h(v["key"]), v["text"]), (v["size"], h(v["root"])))
    for v in vectors["proofs"]:
        judge("proof, " + v["name"], failed(check_proof, h(v["key"]), h(v["receipt"]), v["text"]), v.get("fails", ""))
    for v in vectors["tiles"]:
        judge("tile " + v["path"], failed(tile, v["path"], v.get("size", 0)), v.get("fails", ""))
        if "fails" not in v:
            judge("tile " + v["path"], hashlib.sha256(tile(v["path"], v["size"])).hexdigest(), v["sha256"])
    for line in bad:
        print(line)
    print(f"{count} judgements, {len(bad)} otherwise")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
