// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {LedgerProof} from "./LedgerProof.sol";

/// @title Application hashes of a ledger, on another chain.
/// A root counts once M of the N signers have signed it; anyone may send the one
/// transaction that carries their signatures. The signers alone change the set
/// of signers. There is no owner, nothing is ever overwritten, and the contract
/// holds no money.
///
/// What it rests on: that fewer than M signers sign what is not so. It does not
/// check the ledger's own consensus, whose keys (Ed25519) are dear to check here.
contract Anchor {
    error WrongSigners(); // not ascending, zero, too many, or no majority
    error WrongSignatures(); // not M of the set over this, ascending by signer
    error WrongRoot(); // a height or a root of zero
    error Unknown(uint64 height); // there is no root of this height
    error Contradicted(uint64 height); // the signers signed two roots for it

    event Anchored(uint64 indexed height, bytes32 root);
    /// M signers signed two different roots of one height: at least one of them
    /// lied, or the ledger forked. Neither root counts from then on.
    event Contradiction(uint64 indexed height, bytes32 first, bytes32 second);
    event SignersChanged(uint64 epoch, address[] signers, uint256 threshold);

    /// Signers are checked one by one where the set is changed.
    uint256 public constant MAX_SIGNERS = 128;

    bytes32 private constant DOMAIN =
        keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)");
    bytes32 private constant ROOT = keccak256("Root(string ledger,uint64 height,bytes32 root)");
    bytes32 private constant SIGNERS =
        keccak256("Signers(string ledger,uint64 epoch,address[] signers,uint256 threshold)");
    /// Half the order of the curve: of the two signatures that are one, only the
    /// lower is taken.
    uint256 private constant HALF_ORDER = 0x7fffffffffffffffffffffffffffffff5d576e7357a4501ddfe92f46681b20a0;

    /// The ledger's chain id, as its genesis has it.
    string public ledger;
    bytes32 private immutable ledgerHash;

    uint64 public latest; // the greatest height that is anchored
    uint64 public epoch; // how often the set of signers was changed
    uint256 public threshold;
    address[] private list;
    mapping(address => bool) public isSigner;
    mapping(uint64 => bytes32) private roots;
    mapping(uint64 => bool) private contradicted;

    constructor(string memory ledger_, address[] memory signers_, uint256 threshold_) {
        ledger = ledger_;
        ledgerHash = keccak256(bytes(ledger_));
        set(signers_, threshold_);
    }

    /// Anchors the application hash of a height. What is anchored already stays,
    /// so that two who send the same both succeed.
    function post(uint64 height, bytes32 root, bytes calldata signatures) external {
        if (height == 0 || root == 0) revert WrongRoot();
        bytes32 old = roots[height];
        if (old == root) return;
        check(keccak256(abi.encode(ROOT, ledgerHash, height, root)), signatures);
        if (old != 0) {
            if (!contradicted[height]) {
                contradicted[height] = true;
                emit Contradiction(height, old, root);
            }
            return;
        }
        roots[height] = root;
        if (height > latest) latest = height;
        emit Anchored(height, root);
    }

    /// Exchanges the set of signers, by signatures of the present one.
    function change(address[] calldata signers_, uint256 threshold_, bytes calldata signatures) external {
        bytes32 names = keccak256(abi.encodePacked(signers_)); // each in 32 bytes, as EIP-712 has it
        check(keccak256(abi.encode(SIGNERS, ledgerHash, epoch + 1, names, threshold_)), signatures);
        ++epoch;
        for (uint256 i = 0; i < list.length; ++i) isSigner[list[i]] = false;
        set(signers_, threshold_);
    }

    /// The application hash after a height.
    function rootAt(uint64 height) public view returns (bytes32 root) {
        root = roots[height];
        if (root == 0) revert Unknown(height);
        if (contradicted[height]) revert Contradicted(height);
    }

    /// Who signs, ascending.
    function signers() external view returns (address[] memory) {
        return list;
    }

    /// What the state after a height has under a key: nothing shown, absent, or
    /// present with the hash of the value.
    function entry(uint64 height, bytes calldata key, LedgerProof.Proof calldata proof)
        external
        view
        returns (LedgerProof.Finding, bytes32 value)
    {
        return LedgerProof.check(rootAt(height), key, proof);
    }

    /// Whether the log of receipts of a node, as the state after a height has it,
    /// has a receipt. key is "n" and the node's public key, value the node's
    /// entry, of which proof is; path leads from entry number index of the log.
    function receipt(
        uint64 height,
        bytes calldata key,
        LedgerProof.Proof calldata proof,
        bytes calldata value,
        bytes32 identity,
        uint256 index,
        bytes32[] calldata path
    ) external view returns (bool) {
        return LedgerProof.receipt(rootAt(height), key, proof, value, identity, index, path);
    }

    /// What signers sign, with which nobody can do anything elsewhere.
    function domain() public view returns (bytes32) {
        return keccak256(abi.encode(DOMAIN, keccak256("Aval Anchor"), keccak256("1"), block.chainid, address(this)));
    }

    function check(bytes32 message, bytes calldata signatures) private view {
        uint256 want = threshold;
        if (signatures.length != 65 * want) revert WrongSignatures();
        bytes32 digest = keccak256(abi.encodePacked(hex"1901", domain(), message));
        address before = address(0);
        for (uint256 i = 0; i < want; ++i) {
            bytes calldata s = signatures[65 * i:65 * i + 65];
            if (uint256(bytes32(s[32:64])) > HALF_ORDER) revert WrongSignatures();
            address signer = ecrecover(digest, uint8(s[64]), bytes32(s[:32]), bytes32(s[32:64]));
            // Ascending, so none twice; and zero, which is nobody, is not above zero.
            if (signer <= before || !isSigner[signer]) revert WrongSignatures();
            before = signer;
        }
    }

    function set(address[] memory signers_, uint256 threshold_) private {
        uint256 n = signers_.length;
        // With a majority, two roots of one height need a signer who signed both.
        if (n > MAX_SIGNERS || threshold_ > n || 2 * threshold_ <= n) revert WrongSigners();
        address before = address(0);
        for (uint256 i = 0; i < n; ++i) {
            if (signers_[i] <= before) revert WrongSigners();
            before = signers_[i];
            isSigner[before] = true;
        }
        (list, threshold) = (signers_, threshold_);
        emit SignersChanged(epoch, signers_, threshold_);
    }
}
