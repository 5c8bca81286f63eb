package beacon_test

import (
	"fmt"
	"log"

	"github.com/avalnetwork/aval/internal/beacon"
)

// A ledger's part, of its members' parts beside it: how four validators come to
// a key, one of whom cheats, and to the randomness of a round.
func Example() {
	// Validators publish registrations; the ledger checks them and makes a group.
	var secrets []*beacon.Secret
	var members []beacon.Member
	for i := range 4 {
		secret, err := beacon.NewSecret(seed(i))
		if err != nil {
			log.Fatal(err)
		}
		id := [32]byte{byte(i)} // its Ed25519 public key, in life
		registration := secret.Register(id)
		if err := registration.Check(id); err != nil {
			log.Fatal(err)
		}
		secrets = append(secrets, secret)
		members = append(members, beacon.Member{ID: id, Key: registration.Key(), Power: 1})
	}
	group, err := beacon.NewGroup("example", 1, members)
	if err != nil {
		log.Fatal(err)
	}

	// Each deals, in a transaction. Member 3 deals a wrong share to member 1.
	board := map[int]*beacon.Dealing{}
	for i, secret := range secrets {
		dealing, err := group.Deal(secret, [32]byte{})
		if i == 3 {
			dealing, err = group.DealWrong(secret, [32]byte{}, 1) // of the tests
		}
		if err != nil {
			log.Fatal(err)
		}
		if board[i], err = group.Check(dealing.Bytes()); err != nil {
			log.Fatal(err)
		}
	}

	// Each looks at what it was dealt, and the ledger judges complaints.
	for _, secret := range secrets {
		for i := range group.Size() {
			if board[i] == nil {
				continue
			}
			complaint, err := group.Complain(secret, board[i])
			if err != nil {
				log.Fatal(err)
			}
			if complaint == nil {
				continue
			}
			guilty, err := group.Judge(board[i], complaint)
			if err != nil {
				log.Fatal(err)
			}
			fmt.Printf("member %d complains about member %d: member %d is at fault\n", complaint.Member(), complaint.Dealer(), guilty)
			if guilty == complaint.Dealer() {
				delete(board, guilty)
			}
		}
	}

	// What stands makes the key, whose bytes the ledger keeps.
	var stand []*beacon.Dealing
	for i := range group.Size() {
		if board[i] != nil {
			stand = append(stand, board[i])
		}
	}
	made, err := group.Combine(stand)
	if err != nil {
		log.Fatal(err)
	}
	key, err := group.ParseKey(made.Bytes()) // as after a restart
	if err != nil {
		log.Fatal(err)
	}
	var confirmed []int
	var signers []*beacon.Signer
	for _, secret := range secrets {
		signer, err := key.Signer(secret)
		if err != nil {
			log.Fatal(err)
		}
		share := signer.Confirm()
		if err := key.CheckConfirmation(share); err != nil {
			log.Fatal(err)
		}
		confirmed = append(confirmed, share.Member())
		signers = append(signers, signer)
	}
	fmt.Println("members", confirmed, "confirmed, enough:", group.Enough(confirmed))

	// In a round, votes bring shares, and a proposer puts their signature into
	// the next block.
	const round = 42
	var shares []beacon.Share
	for _, i := range []int{3, 1} {
		share := signers[i].Sign(round)
		if err := key.VerifyShare(round, share); err != nil {
			log.Fatal(err)
		}
		shares = append(shares, share)
	}
	signature, err := key.Recover(round, shares)
	if err != nil {
		log.Fatal(err)
	}

	// Whoever has the group's public key verifies it.
	verifier, err := beacon.NewVerifier("example", 1, key.Public())
	if err != nil {
		log.Fatal(err)
	}
	if err := verifier.Verify(round, signature); err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%x\n", signature.Output())

	// Output:
	// member 1 complains about member 3: member 3 is at fault
	// members [0 1 2 3] confirmed, enough: true
	// 4899493907715f5f33b7bdf4fd2bbeecab6723c9bf6b973c1878016e7d51af13
}
