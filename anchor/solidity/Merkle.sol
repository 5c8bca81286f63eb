// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

/// @title The Merkle trees of RFC 9162, section 2.1, with SHA-256.
/// A leaf hashes to SHA-256(0x00, value), an inner node to SHA-256(0x01, left,
/// right); of n leaves the left half has the largest power of two below n.
library Merkle {
    /// The proof does not have the form that its leaves need.
    error WrongProof();

    uint256 internal constant MAX_LEAVES = 1 << 40;

    /// The hash of a leaf with a value in calldata.
    function leaf(bytes calldata value) internal view returns (bytes32 h) {
        assembly ("memory-safe") {
            let p := mload(0x40)
            mstore8(p, 0)
            calldatacopy(add(p, 1), value.offset, value.length)
            if iszero(staticcall(gas(), 2, p, add(value.length, 1), 0, 32)) { revert(0, 0) }
            h := mload(0)
        }
    }

    /// The hash of a leaf with a value of 32 bytes.
    function leaf(bytes32 value) internal view returns (bytes32 h) {
        assembly ("memory-safe") {
            let p := mload(0x40)
            mstore8(p, 0)
            mstore(add(p, 1), value)
            if iszero(staticcall(gas(), 2, p, 33, 0, 32)) { revert(0, 0) }
            h := mload(0)
        }
    }

    /// The hash of an inner node.
    function node(bytes32 left, bytes32 right) internal view returns (bytes32 h) {
        assembly ("memory-safe") {
            let p := mload(0x40)
            mstore8(p, 1)
            mstore(add(p, 1), left)
            mstore(add(p, 33), right)
            if iszero(staticcall(gas(), 2, p, 65, 0, 32)) { revert(0, 0) }
            h := mload(0)
        }
    }

    /// The root to which an inclusion proof leads (RFC 9162, 2.1.3.2); ok is
    /// false if the proof has not as many hashes as the leaf needs.
    function inclusion(bytes32 h, uint256 index, uint256 size, bytes32[] calldata proof)
        internal
        view
        returns (bytes32 root, bool ok)
    {
        if (index >= size || size > MAX_LEAVES) return (0, false);
        unchecked {
            uint256 last = size - 1;
            for (uint256 i = 0; i < proof.length; ++i) {
                if (last == 0) return (0, false);
                if (index & 1 == 1 || index == last) {
                    h = node(proof[i], h);
                    while (index & 1 == 0 && index != 0) {
                        index >>= 1;
                        last >>= 1;
                    }
                } else {
                    h = node(h, proof[i]);
                }
                index >>= 1;
                last >>= 1;
            }
            return (h, last == 0);
        }
    }

    /// The root to which a proof of neighbouring leaves leads: the hashes of the
    /// maximal subtrees outside of them, from left to right.
    function range(bytes32[] memory hashes, uint256 from, uint256 size, bytes32[] calldata proof)
        internal
        view
        returns (bytes32 root)
    {
        if (hashes.length == 0 || size > MAX_LEAVES || from + hashes.length > size) revert WrongProof();
        uint256 used;
        (root, used) = walk(hashes, from, 0, size, proof, 0);
        if (used != proof.length) revert WrongProof();
    }

    function walk(
        bytes32[] memory hashes,
        uint256 from,
        uint256 lo,
        uint256 hi,
        bytes32[] calldata proof,
        uint256 used
    ) private view returns (bytes32, uint256) {
        if (hi <= from || lo >= from + hashes.length) {
            if (used >= proof.length) revert WrongProof();
            return (proof[used], used + 1);
        }
        if (hi - lo == 1) return (hashes[lo - from], used);
        uint256 half = 1;
        while (half << 1 < hi - lo) half <<= 1;
        bytes32 left;
        bytes32 right;
        (left, used) = walk(hashes, from, lo, lo + half, proof, used);
        (right, used) = walk(hashes, from, lo + half, hi, proof, used);
        return (node(left, right), used);
    }
}
