// Package web is the console of a node: pages on the loopback interface where a
// person talks with a model, sees what was checked of every answer and by whom,
// and looks at the network, the models, the audits and disputes, and the ledger.
//
// Fill in a [Config], whose sources are small interfaces and may be nil, call
// [New], then [Server.Serve] on a listener. [OpenToken] reads the secret that
// guards it; [Server.Link] makes a link that lets one browser in, once.
//
// Whoever reaches the port is refused unless they show that secret, call the
// server by its own name, and come from its own pages. Pages are made here, on the
// server, in English or Portuguese; the browser gets one style sheet and one small
// script, and the policy forbids it everything else.
//
// It computes and checks nothing itself: sources do, and what their checks mean is
// said by internal/report. What was asked and answered is kept in memory only.
package web
