// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {Float32} from "./Float32.sol";
import {Merkle} from "./Merkle.sol";

/// @title The referee of one leaf of a product with a matrix of 8-bit weights.
/// It computes the leaf again from what the parties committed to, to the bit, and
/// says whether the value that was committed is right: spec/trace.md, section 4.2
/// (product), spec/numerics.md, section 4.1 (Q8_0).
///
/// It takes the plan of the cell as given: which operation is the product of
/// which tensor with which codes. Who calls it MUST have that from the header of
/// the model, as spec/dispute.md says, and the root of the cell from a statement
/// that the prover signed.
contract Tile {
    error WrongShape(); // the numbers of the claim are not those of a leaf
    error NotOfModel(); // the tile does not lead to the model
    error NotOfCell(); // codes, state or value do not lead to the cell

    /// What is claimed to be wrong, and by what it is fixed.
    struct Claim {
        bytes32 model; // fingerprint
        bytes32 cell; // root of the cell
        uint64 operations; // of the cell
        uint64 codes; // number of the operation that is the vector's codes
        uint64 product; // number of the operation in question
        uint64 leaf; // of it
        string tensor; // that the operation multiplies with, of type Q8_0
        uint64 rows;
        uint64 cols;
    }

    /// What shows the inputs and the value. Paths are inclusion proofs.
    struct Evidence {
        bytes32 metadata; // root of the model's metadata
        uint64 keys; // of the metadata
        uint64 tensors; // of the model
        uint64 place; // of the tensor among them
        bytes32[] tensorPath;
        bytes32 data; // root of the tensor's tiles
        bytes tile;
        bytes32[] tilePath;
        bytes codes; // leaves of the codes that the leaf needs, one after the other
        bytes32[] codesRange; // range proof of them
        bytes32[] codesPath; // from the root of their operation
        bytes state; // the leaf before, with the columns before; empty if there is none
        bytes32[] statePath;
        bytes value; // that was committed
        bytes32[] valuePath;
        bytes32[] productPath; // from the root of the operation
    }

    uint256 private constant TILE_COLS = 6144; // spec/fingerprint.md, section 4
    uint256 private constant LEAF_COLS = 3072; // spec/trace.md, section 4.2
    uint256 private constant CODES = 512; // numbers of a leaf of codes
    uint256 private constant BLOCK = 34; // bytes of 32 weights: the scale, then the codes

    // Eight lanes of 32 bits.
    uint256 private constant LANES = 0x000000ff000000ff000000ff000000ff000000ff000000ff000000ff000000ff;
    uint256 private constant EACH_128 = 0x0000008000000080000000800000008000000080000000800000008000000080;
    uint256 private constant EACH_HALF = 0x8000000080000000800000008000000080000000800000008000000080000000;
    uint256 private constant BYTES_128 = 0x8080808080808080808080808080808080808080808080808080808080808080;

    /// What follows from the numbers of a claim.
    struct Layout {
        uint256 tiles; // of the tensor
        uint256 tile; // that holds the leaf's weights
        uint256 rows; // of the leaf
        uint256 stride; // bytes of a row of the tile
        uint256 skip; // of them before the leaf's columns
        uint256 blocks; // of the leaf's columns
        uint256 groups; // leaves side by side
        uint256 leaves; // of the operation
        uint256 from; // first leaf of the codes
        uint256 codes; // leaves of all codes
        uint256 tail; // blocks of the last leaf of codes that is shown
    }

    /// Judges a leaf: right, or the first row whose sum is wrong, what was
    /// committed for it and what it is, as bits of a float32. It reverts if the
    /// evidence does not show what the claim needs.
    function judge(Claim calldata c, Evidence calldata e)
        external
        view
        returns (bool right, uint256 row, uint32 committed, uint32 computed)
    {
        Layout memory y = measure(c);
        ofModel(c, e, y);
        ofCell(c, e, y);
        uint256 table = prepare(e.codes, y.blocks);
        for (row = 0; row < y.rows; ++row) {
            uint256 sum = e.state.length == 0 ? 0 : number(e.state, row);
            computed = uint32(multiply(e.tile, row * y.stride + y.skip, table, y.blocks, sum));
            committed = uint32(number(e.value, row));
            if (committed != computed) return (false, row, committed, computed);
        }
        return (true, 0, 0, 0);
    }

    /// Judges the dot product of two strings of 8-bit integers, each committed to
    /// as a leaf of a tree, as nets of integers compute: exact, no scales.
    function judgeIntegers(
        bytes32[2] calldata roots,
        uint256[2] calldata sizes,
        uint256[2] calldata places,
        bytes calldata weights,
        bytes32[] calldata weightsPath,
        bytes calldata activations,
        bytes32[] calldata activationsPath,
        int32 committed
    ) external view returns (bool right, int32 computed) {
        uint256 n = weights.length;
        // 2^16 products of at most 2^14 fit into 31 bits.
        if (n != activations.length || n % 32 != 0 || n == 0 || n >= 1 << 16) revert WrongShape();
        if (!leads(Merkle.leaf(weights), places[0], sizes[0], weightsPath, roots[0])) revert NotOfModel();
        if (!leads(Merkle.leaf(activations), places[1], sizes[1], activationsPath, roots[1])) revert NotOfCell();
        computed = int32(integers(weights, activations));
        right = computed == committed;
    }

    function leads(bytes32 h, uint256 index, uint256 size, bytes32[] calldata path, bytes32 root)
        private
        view
        returns (bool)
    {
        (bytes32 got, bool ok) = Merkle.inclusion(h, index, size, path);
        return ok && got == root;
    }

    /// The numbers of spec/fingerprint.md, section 4, and of spec/trace.md,
    /// section 4.2, for a leaf.
    function measure(Claim calldata c) private pure returns (Layout memory y) {
        uint256 cols = c.cols;
        if (cols == 0 || cols % 32 != 0 || cols > 1 << 32 || c.rows == 0 || c.rows > 1 << 32) revert WrongShape();
        uint256 tileRows = 1;
        uint256 chunks = 1;
        uint256 tileCols = cols;
        if (cols <= TILE_COLS) {
            while (tileRows < 16 && 2 * tileRows * (cols / 32 * BLOCK) <= 8192) tileRows *= 2;
        } else {
            chunks = (cols + TILE_COLS - 1) / TILE_COLS;
        }
        y.groups = (c.rows + tileRows - 1) / tileRows;
        y.tiles = y.groups * chunks;
        y.leaves = y.groups * ((cols + LEAF_COLS - 1) / LEAF_COLS);
        if (c.leaf >= y.leaves) revert WrongShape();
        uint256 group = c.leaf % y.groups;
        uint256 from = c.leaf / y.groups * LEAF_COLS;
        uint256 to = from + LEAF_COLS < cols ? from + LEAF_COLS : cols;
        y.tile = group * chunks + (chunks == 1 ? 0 : from / TILE_COLS);
        if (chunks > 1) {
            uint256 first = from / TILE_COLS * TILE_COLS;
            tileCols = cols - first < TILE_COLS ? cols - first : TILE_COLS;
            y.skip = (from - first) / 32 * BLOCK;
        } else {
            y.skip = from / 32 * BLOCK;
        }
        y.stride = tileCols / 32 * BLOCK;
        y.rows = c.rows - group * tileRows < tileRows ? c.rows - group * tileRows : tileRows;
        y.blocks = (to - from) / 32;
        y.from = from / CODES;
        y.codes = (cols + CODES - 1) / CODES;
    }

    /// Checks that the tile is the tensor's and the tensor the model's.
    function ofModel(Claim calldata c, Evidence calldata e, Layout memory y) private view {
        if (e.tile.length != y.rows * y.stride) revert WrongShape();
        if (!leads(Merkle.leaf(e.tile), y.tile, y.tiles, e.tilePath, e.data)) revert NotOfModel();
        bytes32 entry = sha256(
            abi.encodePacked(
                hex"0084", head(0x60, bytes(c.tensor).length), c.tensor, hex"0882", head(0, c.cols), head(0, c.rows), hex"5820", e.data
            )
        );
        (bytes32 tensors, bool ok) = Merkle.inclusion(entry, e.place, e.tensors, e.tensorPath);
        bytes32 model = sha256(
            abi.encodePacked(
                uint8(12), "aval model/1", uint64(32), e.metadata, uint64(8), little(e.keys), uint64(32), tensors, uint64(8), little(e.tensors)
            )
        );
        if (!ok || model != c.model) revert NotOfModel();
    }

    /// Checks that codes, state and value are the cell's.
    function ofCell(Claim calldata c, Evidence calldata e, Layout memory y) private view {
        if (c.codes >= c.product || e.value.length != 4 * y.rows) revert WrongShape();
        bytes32 codes = Merkle.range(hashes(e.codes, y.blocks), y.from, y.codes, e.codesRange);
        if (!leads(Merkle.leaf(codes), c.codes, c.operations, e.codesPath, c.cell)) revert NotOfCell();
        (bytes32 product, bool ok) = Merkle.inclusion(Merkle.leaf(e.value), c.leaf, y.leaves, e.valuePath);
        if (!ok || !leads(Merkle.leaf(product), c.product, c.operations, e.productPath, c.cell)) revert NotOfCell();
        if (c.leaf < y.groups) {
            if (e.state.length != 0 || e.statePath.length != 0) revert WrongShape();
            return;
        }
        if (e.state.length != e.value.length) revert WrongShape();
        if (!leads(Merkle.leaf(e.state), c.leaf - y.groups, y.leaves, e.statePath, product)) revert NotOfCell();
    }

    /// The hashes of leaves of codes: of each, 36 bytes for 32 numbers.
    function hashes(bytes calldata codes, uint256 blocks) private view returns (bytes32[] memory list) {
        if (codes.length != 36 * blocks) revert WrongShape();
        uint256 size = 36 * CODES / 32;
        list = new bytes32[]((codes.length + size - 1) / size);
        for (uint256 i = 0; i < list.length; ++i) {
            uint256 to = (i + 1) * size < codes.length ? (i + 1) * size : codes.length;
            list[i] = Merkle.leaf(codes[i * size:to]);
        }
    }

    /// Number i of a string of float32, little endian.
    function number(bytes calldata b, uint256 i) private pure returns (uint256) {
        return swap(uint32(bytes4(b[4 * i:4 * i + 4])));
    }

    /// The four bytes of a number in their other order.
    function swap(uint256 n) private pure returns (uint256) {
        return (n >> 24) | ((n >> 8) & 0xff00) | ((n & 0xff00) << 8) | ((n & 0xff) << 24);
    }

    /// A number in eight bytes, little endian.
    function little(uint64 n) private pure returns (bytes8) {
        uint256 r = swap(n >> 32) | (swap(n & 0xffffffff) << 32);
        return bytes8(uint64(r));
    }

    /// The head of a CBOR item.
    function head(uint8 major, uint256 n) private pure returns (bytes memory) {
        if (n < 24) return abi.encodePacked(uint8(major | n));
        if (n < 1 << 8) return abi.encodePacked(uint8(major | 24), uint8(n));
        if (n < 1 << 16) return abi.encodePacked(uint8(major | 25), uint16(n));
        if (n < 1 << 32) return abi.encodePacked(uint8(major | 26), uint32(n));
        return abi.encodePacked(uint8(major | 27), uint64(n));
    }

    // A sum of products by one multiplication: with the lanes of one factor in the
    // other order, the highest lane of the product of two words is the sum of the
    // products of their lanes, and what is above the word falls away. A word has 32
    // bytes in four groups of eight: those in the lowest byte of a lane, the next,
    // and so on. Of one factor the bytes count as 0 to 255, that is with 128 added;
    // the other is signed, which the borrows of two's complement carry, and each
    // lane of the sum gets 2^31 added so that no lane borrows from the highest.

    /// For each block of 32 activations six words: the four groups of the codes,
    /// with the lanes in the other order and signed; 2^31 + 128 times their sum,
    /// which the product has too much; and the scale.
    function prepare(bytes calldata codes, uint256 blocks) private pure returns (uint256 table) {
        table = space(blocks);
        unchecked {
            for (uint256 b = 0; b < blocks; ++b) {
                uint256 first = b / 16 * 16; // block of this leaf of codes
                uint256 n = blocks - first < 16 ? blocks - first : 16;
                uint256 pos = first * 36;
                lanes(codes, pos + (b - first) * 32, table + b * 192);
                uint256 scale;
                assembly ("memory-safe") {
                    scale := shr(224, calldataload(add(codes.offset, add(pos, add(mul(n, 32), mul(sub(b, first), 4))))))
                }
                scale = swap(scale);
                assembly ("memory-safe") {
                    mstore(add(table, add(mul(b, 192), 160)), scale)
                }
            }
        }
    }

    function space(uint256 blocks) private pure returns (uint256 table) {
        assembly ("memory-safe") {
            table := mload(0x40)
            mstore(0x40, add(table, mul(blocks, 192)))
        }
    }

    /// Writes the first five words of a block.
    function lanes(bytes calldata codes, uint256 pos, uint256 to) private pure {
        assembly ("memory-safe") {
            let w := xor(calldataload(add(codes.offset, pos)), BYTES_128)
            w := or(shr(128, w), shl(128, w))
            let m := 0xffffffffffffffff0000000000000000ffffffffffffffff
            w := or(and(shr(64, w), m), shl(64, and(w, m)))
            m := 0xffffffff00000000ffffffff00000000ffffffff00000000ffffffff
            w := or(and(shr(32, w), m), shl(32, and(w, m)))
            let g := and(w, LANES)
            let total := g
            mstore(to, sub(g, EACH_128))
            g := and(shr(8, w), LANES)
            total := add(total, g)
            mstore(add(to, 32), sub(g, EACH_128))
            g := and(shr(16, w), LANES)
            total := add(total, g)
            mstore(add(to, 64), sub(g, EACH_128))
            g := and(shr(24, w), LANES)
            total := add(total, g)
            mstore(add(to, 96), sub(g, EACH_128))
            // The highest lane of the product with ones is the sum of all lanes.
            total := shr(224, mul(total, div(EACH_128, 128)))
            mstore(add(to, 128), add(0x80000000, mul(128, sub(total, 4096))))
        }
    }

    /// The sum of a row, which goes on from what it was, block by block:
    /// sum + (f32(D) * s) * a.
    function multiply(bytes calldata tile, uint256 pos, uint256 table, uint256 blocks, uint256 sum)
        private
        pure
        returns (uint256)
    {
        unchecked {
            for (uint256 end = table + blocks * 192; table < end; table += 192) {
                int256 d;
                uint256 half;
                uint256 scale;
                assembly ("memory-safe") {
                    let p := add(tile.offset, pos)
                    half := shr(240, calldataload(p))
                    let w := xor(calldataload(add(p, 2)), BYTES_128)
                    let t := mul(and(w, LANES), mload(table))
                    t := add(t, mul(and(shr(8, w), LANES), mload(add(table, 32))))
                    t := add(t, mul(and(shr(16, w), LANES), mload(add(table, 64))))
                    t := add(t, mul(and(shr(24, w), LANES), mload(add(table, 96))))
                    d := sub(shr(224, add(t, EACH_HALF)), mload(add(table, 128)))
                    scale := mload(add(table, 160))
                }
                half = (half >> 8) | ((half & 0xff) << 8);
                sum = Float32.accumulate(sum, d, half, scale);
                pos += BLOCK;
            }
        }
        return sum;
    }

    function integers(bytes calldata weights, bytes calldata activations) private pure returns (int256 sum) {
        uint256 to = space(1);
        unchecked {
            for (uint256 pos = 0; pos < weights.length; pos += 32) {
                lanes(activations, pos, to);
                assembly ("memory-safe") {
                    let w := xor(calldataload(add(weights.offset, pos)), BYTES_128)
                    let t := mul(and(w, LANES), mload(to))
                    t := add(t, mul(and(shr(8, w), LANES), mload(add(to, 32))))
                    t := add(t, mul(and(shr(16, w), LANES), mload(add(to, 64))))
                    t := add(t, mul(and(shr(24, w), LANES), mload(add(to, 96))))
                    sum := add(sum, sub(shr(224, add(t, EACH_HALF)), mload(add(to, 128))))
                }
            }
        }
    }
}
