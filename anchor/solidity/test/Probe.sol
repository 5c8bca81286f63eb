// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {Float32} from "../Float32.sol";
import {LedgerProof} from "../LedgerProof.sol";
import {Merkle} from "../Merkle.sol";

/// @title Calls the libraries, many cases at once, so that tests can compare.
contract Probe {
    struct Question {
        bytes32 root;
        bytes key;
        LedgerProof.Proof proof;
    }

    function proofs(Question[] calldata list) external view returns (uint8[] memory found, bytes32[] memory values) {
        found = new uint8[](list.length);
        values = new bytes32[](list.length);
        for (uint256 i = 0; i < list.length; ++i) {
            LedgerProof.Finding f;
            (f, values[i]) = LedgerProof.check(list[i].root, list[i].key, list[i].proof);
            found[i] = uint8(f);
        }
    }

    function inclusion(bytes32 leaf, uint256 index, uint256 size, bytes32[] calldata path)
        external
        view
        returns (bytes32 root, bool ok)
    {
        return Merkle.inclusion(leaf, index, size, path);
    }

    function range(bytes32[] calldata leaves, uint256 from, uint256 size, bytes32[] calldata path)
        external
        view
        returns (bytes32)
    {
        return Merkle.range(leaves, from, size, path);
    }

    function logOf(bytes calldata entry) external pure returns (uint256 size, bytes32 root) {
        return LedgerProof.logOf(entry);
    }

    function floats(uint32[] calldata a, uint32[] calldata b)
        external
        pure
        returns (uint32[] memory sums, uint32[] memory products)
    {
        sums = new uint32[](a.length);
        products = new uint32[](a.length);
        for (uint256 i = 0; i < a.length; ++i) {
            sums[i] = uint32(Float32.add(a[i], b[i]));
            products[i] = uint32(Float32.mul(a[i], b[i]));
        }
    }

    function accumulate(uint32[] calldata sums, int32[] calldata d, uint16[] calldata half, uint32[] calldata scale)
        external
        pure
        returns (uint32[] memory out)
    {
        out = new uint32[](sums.length);
        for (uint256 i = 0; i < out.length; ++i) out[i] = uint32(Float32.accumulate(sums[i], d[i], half[i], scale[i]));
    }

    function halves(uint16[] calldata list) external pure returns (uint32[] memory out) {
        out = new uint32[](list.length);
        for (uint256 i = 0; i < list.length; ++i) out[i] = uint32(Float32.fromHalf(list[i]));
    }

    function integers(int32[] calldata list) external pure returns (uint32[] memory out) {
        out = new uint32[](list.length);
        for (uint256 i = 0; i < list.length; ++i) out[i] = uint32(Float32.fromInt(list[i]));
    }

    /// What a call takes, without the price of the transaction and its data.
    function gasOf(address to, bytes calldata data) external view returns (uint256 used) {
        bytes memory copy = data;
        used = gasleft();
        (bool ok,) = to.staticcall(copy);
        used -= gasleft();
        require(ok);
    }
}
