package web

import (
	"cmp"
	"fmt"
	"html/template"
	"net/http"
	"slices"
	"strings"
	"time"
)

// networkData is the page of the network.
type networkData struct {
	NetworkView
	Map  template.HTML
	Pong string // what a ping gave
	None bool
}

func (s *Server) networkData(r *http.Request, p *page) {
	d := networkData{None: s.cfg.Network == nil}
	if !d.None {
		v, err := s.cfg.Network.Network(r.Context())
		if err != nil {
			p.Problem = err.Error()
		}
		d.NetworkView, d.Map = v, drawNetwork(p, &v)
	}
	p.Data = d
}

func (s *Server) networkPage(w http.ResponseWriter, r *http.Request) {
	p := s.page(r, "network")
	s.networkData(r, p)
	s.render(w, http.StatusOK, "network", p)
}

// networkLive is the part of the page that changes by itself.
func (s *Server) networkLive(w http.ResponseWriter, r *http.Request) {
	p := s.page(r, "network")
	s.networkData(r, p)
	s.render(w, http.StatusOK, "peers", p)
}

func (s *Server) addPeer(w http.ResponseWriter, r *http.Request) {
	if s.cfg.Network == nil {
		s.refuse(w, r, http.StatusNotFound, "network.none")
		return
	}
	err := s.cfg.Network.Add(r.Context(), strings.TrimSpace(r.PostFormValue("link")))
	s.done(w, r, "network", "/network", "added", err)
}

func (s *Server) removePeer(w http.ResponseWriter, r *http.Request) {
	if s.cfg.Network == nil {
		s.refuse(w, r, http.StatusNotFound, "network.none")
		return
	}
	err := s.cfg.Network.Remove(r.Context(), r.PostFormValue("peer"))
	s.done(w, r, "network", "/network", "removed", err)
}

func (s *Server) pingPeer(w http.ResponseWriter, r *http.Request) {
	p := s.page(r, "network")
	if s.cfg.Network == nil {
		s.refuse(w, r, http.StatusNotFound, "network.none")
		return
	}
	took, err := s.cfg.Network.Ping(r.Context(), r.PostFormValue("peer"))
	s.networkData(r, p)
	if d, ok := p.Data.(networkData); ok && err == nil {
		d.Pong = p.T("network.pong", long(p.Lang, took))
		p.Data = d
	} else if err != nil {
		p.Problem = err.Error()
	}
	s.render(w, http.StatusOK, "network", p)
}

// maxDrawn bounds the peers of a map; the list has all of them.
const maxDrawn = 40

// quarter has the points of a circle at eight parts of a quarter turn.
var quarter = [...][2]float64{{1, 0}, {0.9808, 0.1951}, {0.9239, 0.3827}, {0.8315, 0.5556}, {0.7071, 0.7071}, {0.5556, 0.8315}, {0.3827, 0.9239}, {0.1951, 0.9808}}

// drawNetwork draws this node among its peers, for wide screens and for narrow
// ones, of which the style sheet shows one.
func drawNetwork(p *page, v *NetworkView) template.HTML {
	return drawMap(p, v, 720, 360, "map wide") + drawMap(p, v, 340, 380, "map narrow")
}

func drawMap(p *page, v *NetworkView, width, height int, class string) template.HTML {
	peers := slices.Clone(v.Peers)
	rank := map[Way]int{Local: 0, Direct: 1, Relayed: 2, Nowhere: 3}
	slices.SortStableFunc(peers, func(a, b Peer) int {
		return cmp.Or(cmp.Compare(rank[a.Way], rank[b.Way]), cmp.Compare(a.ID, b.ID))
	})
	more := max(0, len(peers)-maxDrawn)
	peers = peers[:len(peers)-more]
	if len(peers) == 0 {
		height = 140
	}
	m := &drawing{}
	m.open(width, height, p.T("network.map", p.N("network.peers", len(v.Peers))), class)
	cx, cy := float64(width)/2, float64(height)/2
	type spot struct{ x, y float64 }
	spots := make([]spot, len(peers))
	for i := range peers {
		turn := float64(i) / float64(max(len(peers), 1)) * 32
		if len(peers) > 1 {
			turn += 5 // not exactly beside the middle
		}
		c, sn := onCircle(turn)
		far := 0.8
		if len(peers) > 14 && i%2 == 1 {
			far = 0.52 // two rings
		}
		spots[i] = spot{cx + c*far*(cx-30), cy + sn*far*(cy-14)}
	}
	for i, q := range peers {
		m.put(`<line class="edge %s" x1="%s" y1="%s" x2="%s" y2="%s"/>`, string(q.Way), coordinate(cx), coordinate(cy), coordinate(spots[i].x), coordinate(spots[i].y))
	}
	for i, q := range peers {
		at := spots[i]
		words := q.Short + ", " + p.T("way."+string(q.Way))
		trip := ""
		if q.RoundTrip > 0 {
			trip = long(p.Lang, q.RoundTrip)
			words += ", " + trip
		}
		if q.Offers > 0 {
			words += ", " + p.N("network.offers", q.Offers)
		}
		m.put(`<a href="#p-%s"><title>%s</title>`, q.ID, words)
		m.put(`<circle class="node %s" cx="%s" cy="%s" r="12"/>`, string(q.Way), coordinate(at.x), coordinate(at.y))
		if q.Offers > 0 {
			m.put(`<circle class="has" cx="%s" cy="%s" r="5"/>`, coordinate(at.x), coordinate(at.y))
		}
		m.put(`<text class="name" x="%s" y="%s">%s</text>`, coordinate(at.x), coordinate(at.y+27), q.Short)
		if trip != "" {
			m.put(`<text class="soft" x="%s" y="%s">%s</text>`, coordinate(at.x), coordinate(at.y-18), trip)
		}
		m.put(`</a>`)
	}
	m.put(`<circle class="self" cx="%s" cy="%s" r="17"/><text class="name strong" x="%s" y="%s">%s</text>`,
		coordinate(cx), coordinate(cy), coordinate(cx), coordinate(cy+34), p.T("network.self"))
	if len(peers) == 0 {
		m.put(`<text class="soft" x="%s" y="%s">%s</text>`, coordinate(cx), coordinate(cy-40), p.T("network.alone"))
	}
	if more > 0 {
		m.put(`<text class="soft" x="%s" y="%s">%s</text>`, coordinate(cx), coordinate(float64(height)-6), p.T("network.more", number(p.Lang, int64(more))))
	}
	return m.close()
}

// onCircle gives the point of a circle after so many of 32 parts of a turn.
func onCircle(turn float64) (x, y float64) {
	at := int(turn) % 32
	next := (at + 1) % 32
	part := turn - float64(int(turn))
	ax, ay := corner(at)
	bx, by := corner(next)
	return ax + part*(bx-ax), ay + part*(by-ay)
}

func corner(i int) (x, y float64) {
	q := quarter[i%8]
	switch i / 8 {
	case 0:
		return q[0], q[1]
	case 1:
		return -q[1], q[0]
	case 2:
		return -q[0], -q[1]
	}
	return q[1], -q[0]
}

func coordinate(x float64) string { return fmt.Sprintf("%.1f", x) }

// modelsData is the page of models.
type modelsData struct {
	ModelsView
	Jobs []jobView
	Link string
	None bool
}

func (s *Server) modelsPage(w http.ResponseWriter, r *http.Request) {
	p := s.page(r, "models")
	d := modelsData{None: s.cfg.Models == nil, Jobs: s.jobs.list(), Link: r.URL.Query().Get("link")}
	if !d.None {
		var err error
		if d.ModelsView, err = s.cfg.Models.Models(r.Context()); err != nil {
			p.Problem = err.Error()
		}
	}
	p.Data = d
	s.render(w, http.StatusOK, "models", p)
}

func (s *Server) modelJobs(w http.ResponseWriter, r *http.Request) {
	p := s.page(r, "models")
	p.Data = modelsData{Jobs: s.jobs.list()}
	s.render(w, http.StatusOK, "jobs", p)
}

func (s *Server) share(w http.ResponseWriter, r *http.Request) {
	if s.cfg.Models == nil {
		s.refuse(w, r, http.StatusNotFound, "models.none")
		return
	}
	_ = http.NewResponseController(w).SetWriteDeadline(time.Time{}) // a large model is read first
	err := s.cfg.Models.Share(r.Context(), r.PostFormValue("name"), r.PostFormValue("public") == "yes")
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(writeTime))
	s.done(w, r, "models", "/models", "shared", err)
}

func (s *Server) unshare(w http.ResponseWriter, r *http.Request) {
	if s.cfg.Models == nil {
		s.refuse(w, r, http.StatusNotFound, "models.none")
		return
	}
	s.done(w, r, "models", "/models", "unshared", s.cfg.Models.Unshare(r.Context(), r.PostFormValue("root")))
}

// fetch begins to get a model; it goes on when the page is left.
func (s *Server) fetch(w http.ResponseWriter, r *http.Request) {
	if s.cfg.Models == nil {
		s.refuse(w, r, http.StatusNotFound, "models.none")
		return
	}
	link := strings.TrimSpace(r.PostFormValue("link"))
	j, err := s.jobs.begin(link)
	if err == nil {
		s.beside.Go(func() {
			name, err := s.cfg.Models.Fetch(s.running, link, j.progress)
			j.end(name, err)
		})
	}
	s.done(w, r, "models", "/models", "fetching", err)
}
