// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {Merkle} from "./Merkle.sol";

/// @title Proofs about the state of a ledger: spec/ledger.md, section 3.
/// A proof shows the one leaf that the bits of a key lead to: it is the key's,
/// or the key is not there. It is worth as much as whoever vouches for the root.
library LedgerProof {
    /// The proof shows nothing about the key under the root.
    error NoProof();

    uint256 internal constant MAX_KEY = 128;
    uint256 internal constant MAX_BIT = 9 * (MAX_KEY + 1);

    enum Finding {
        Nothing, // the proof does not stand
        Absent, // there is no entry with the key
        Present // there is one, whose value has the hash
    }

    struct Step {
        uint16 bit; // that the inner node tells apart
        bytes32 other; // hash of the other side
    }

    struct Proof {
        bytes key; // of the leaf; none if the tree is empty
        bytes32 value; // SHA-256 of its value
        Step[] steps; // from the leaf to the root
    }

    /// What a proof shows, and the hash of the value of an entry that is present.
    function check(bytes32 root, bytes calldata key, Proof calldata proof)
        internal
        view
        returns (Finding, bytes32 value)
    {
        bytes calldata own = proof.key;
        if (key.length == 0 || key.length > MAX_KEY || own.length > MAX_KEY) return (Finding.Nothing, 0);
        if (own.length == 0) {
            if (proof.steps.length > 0 || proof.value != 0 || root != sha256("")) return (Finding.Nothing, 0);
            return (Finding.Absent, 0);
        }
        bytes32 h = sha256(abi.encodePacked(uint8(0), uint8(own.length), own, proof.value));
        uint256 below = MAX_BIT;
        unchecked {
            for (uint256 i = 0; i < proof.steps.length; ++i) {
                Step calldata s = proof.steps[i];
                uint256 bit = s.bit;
                if (bit >= below) return (Finding.Nothing, 0);
                below = bit;
                uint256 side = bitAt(own, bit);
                if (side != bitAt(key, bit)) return (Finding.Nothing, 0);
                h = side == 0 ? node(bit, h, s.other) : node(bit, s.other, h);
            }
        }
        if (h != root) return (Finding.Nothing, 0);
        if (keccak256(own) != keccak256(key)) return (Finding.Absent, 0);
        return (Finding.Present, proof.value);
    }

    /// The hash of the value that a key has; reverts if the proof does not show
    /// one.
    function present(bytes32 root, bytes calldata key, Proof calldata proof) internal view returns (bytes32) {
        (Finding f, bytes32 value) = check(root, key, proof);
        if (f != Finding.Present) revert NoProof();
        return value;
    }

    /// A bit of a key, of nine for each byte: first a one, which tells that there
    /// is such a byte, then its own, the highest first; zeros after the last.
    function bitAt(bytes calldata key, uint256 bit) private pure returns (uint256) {
        unchecked {
            uint256 i = bit / 9;
            uint256 r = bit % 9;
            if (i >= key.length) return 0;
            if (r == 0) return 1;
            return (uint8(key[i]) >> (8 - r)) & 1;
        }
    }

    /// SHA-256(0x01, the bit in two bytes, left, right).
    function node(uint256 bit, bytes32 left, bytes32 right) private view returns (bytes32 h) {
        assembly ("memory-safe") {
            let p := mload(0x40)
            mstore(p, shl(232, or(0x010000, bit)))
            mstore(add(p, 3), left)
            mstore(add(p, 35), right)
            if iszero(staticcall(gas(), 2, p, 67, 0, 32)) { revert(0, 0) }
            h := mload(0)
        }
    }

    /// Whether a receipt is in the log of a node, as the ledger with a root has
    /// it: proof is about the node's entry, whose value is entry, and path leads
    /// from the receipt to the root of the log in it (spec/receipt-log.md).
    function receipt(
        bytes32 root,
        bytes calldata key,
        Proof calldata proof,
        bytes calldata entry,
        bytes32 identity,
        uint256 index,
        bytes32[] calldata path
    ) internal view returns (bool) {
        if (key.length != 33 || key[0] != "n" || sha256(entry) != present(root, key, proof)) return false;
        (uint256 size, bytes32 log) = logOf(entry);
        (bytes32 got, bool ok) = Merkle.inclusion(Merkle.leaf(identity), index, size, path);
        return ok && got == log;
    }

    /// The log of receipts in the entry of a node: the array [size, root] under
    /// the key 5 of a CBOR map; of size 0 if there is none yet.
    function logOf(bytes calldata entry) internal pure returns (uint256 size, bytes32 root) {
        (uint256 major, uint256 count, uint256 pos) = head(entry, 0);
        if (major != 5) revert NoProof();
        for (uint256 i = 0; i < count; ++i) {
            uint256 key;
            (major, key, pos) = head(entry, pos);
            if (major != 0) revert NoProof();
            if (key != 5) {
                pos = skip(entry, pos);
                continue;
            }
            uint256 n;
            (major, n, pos) = head(entry, pos);
            if (major != 4 || n < 2) revert NoProof();
            (major, size, pos) = head(entry, pos);
            if (major != 0) revert NoProof();
            if (size == 0) return (0, 0);
            (major, n, pos) = head(entry, pos);
            if (major != 2 || n != 32 || pos + 32 > entry.length) revert NoProof();
            return (size, bytes32(entry[pos:pos + 32]));
        }
        return (0, 0);
    }

    /// The head of a CBOR item of definite length.
    function head(bytes calldata b, uint256 pos) private pure returns (uint256 major, uint256 n, uint256 next) {
        if (pos >= b.length) revert NoProof();
        uint256 first = uint8(b[pos]);
        (major, n, next) = (first >> 5, first & 31, pos + 1);
        if (n < 24) return (major, n, next);
        if (n > 27) revert NoProof();
        uint256 bytesOf = 1 << (n - 24);
        if (next + bytesOf > b.length) revert NoProof();
        n = uint256(bytes32(b[next:next + bytesOf])) >> (256 - 8 * bytesOf);
        next += bytesOf;
    }

    /// Where the item after the one at a place begins.
    function skip(bytes calldata b, uint256 pos) private pure returns (uint256) {
        for (uint256 left = 1; left > 0; --left) {
            (uint256 major, uint256 n, uint256 next) = head(b, pos);
            pos = next;
            if (major == 2 || major == 3) {
                pos += n;
                if (pos > b.length) revert NoProof();
            } else if (major == 4) {
                left += n;
            } else if (major == 5) {
                left += 2 * n;
            } else if (major == 6) {
                left += 1;
            }
        }
        return pos;
    }
}
