package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/avalnetwork/aval/internal/access"
)

func newAccessPassCommand(a *app) *cobra.Command {
	o := grantOptions{lists: map[access.Action]*[]string{}}
	c := &cobra.Command{
		Use: "pass [flags] TOKEN PEER", Short: "Hand a token on to another peer", Args: cobra.ExactArgs(2),
		Long: `Pass makes a token for PEER from one that this node holds and that may be handed on
(see "aval access show TOKEN"). It allows the same, or what flags say of it, and never
more. PEER keeps it with "aval access add". Whoever issued the first token sees through
whose hands it went, and can take all of it back; this node cannot.
` + exitHelp,
		Example: `  aval access pass aval-token:o2... 12D3Koo...
  aval access pass aval-token:o2... 12D3Koo... --ask llama-3 --for 24h`,
		RunE: func(c *cobra.Command, args []string) error {
			return a.accessPass(&o, args[0], args[1], c.Flags().Changed("for"))
		},
	}
	o.rightFlags(c)
	c.Flags().DurationVar(&o.life, "for", 0, "how long it holds (default as long as TOKEN)")
	c.Flags().IntVar(&o.handOn, "hand-on", 0, "through how many further hands PEER may pass it")
	c.Flags().BoolVar(&o.json, "json", false, "print JSON")
	return c
}

func (a *app) accessPass(o *grantOptions, token, to string, limited bool) error {
	t, err := access.ParseText(token)
	if err != nil {
		return usageError{err}
	}
	l, err := link(to)
	if err != nil {
		return err
	}
	terms := t.Last() // the same, but for what is said otherwise
	switch left := time.Until(terms.Expires); {
	case left <= 0:
		return usageErrorf("the token ended at %s: ask for another one", terms.Expires.Local().Format(time.DateTime))
	case terms.HandOn == 0:
		return usageErrorf("the token may not be handed on: its issuer, %s, can grant that with --hand-on", t.Issuer)
	case limited && (o.life < time.Minute || o.life > left):
		return usageErrorf("--for %s: want a minute to %s, when the token ends", o.life, left.Round(time.Second))
	case limited:
		terms.Expires = time.Now().Add(o.life).Truncate(time.Second).UTC()
	}
	if terms.Rights, err = o.rights(terms.Rights); err != nil {
		return err
	}
	terms.Holder, terms.HandOn = l.Peer, o.handOn
	key, err := a.nodeKey()
	if err != nil {
		return err
	}
	next, err := t.Delegate(key, terms)
	if errors.Is(err, access.ErrToken) || errors.Is(err, access.ErrRight) {
		return usageError{err}
	}
	if err != nil {
		return err
	}
	if o.json {
		return a.printJSON(passedJSON{tokenAsJSON(next), next.String()})
	}
	fmt.Fprintln(a.out, next)
	a.note("%s adds the token with \"aval access add\"; it holds until %s", l.Peer.Short(), terms.Expires.Local().Format(time.DateTime))
	return nil
}

// passedJSON is what "aval access pass --json" prints.
type passedJSON struct {
	tokenJSON
	Token string `json:"token"`
}

// tokenAsJSON is a token as JSON shows it.
func tokenAsJSON(t *access.Token) tokenJSON {
	last := t.Last()
	return tokenJSON{t.ID, t.Issuer, last.Holder, len(t.Blocks) - 1, last.Rights, last.Begins, last.Expires, last.HandOn}
}
