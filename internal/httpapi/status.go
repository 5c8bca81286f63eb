package httpapi

import (
	"io"
	"net/http"
)

// handleRoot answers those who look whether anybody is there.
func (s *Server) handleRoot(w http.ResponseWriter, _ *http.Request) error {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = io.WriteString(w, "Aval is running")
	return nil
}

func (s *Server) handleHealth(w http.ResponseWriter, _ *http.Request) error {
	s.writeJSON(w, http.StatusOK, struct {
		Status  string `json:"status"`
		Running int    `json:"running"`
		Queued  int    `json:"queued"`
	}{"ok", s.gate.running(), s.gate.queued()})
	return nil
}

func (s *Server) handleMetrics(w http.ResponseWriter, r *http.Request) error {
	s.metrics.registry.Handler().ServeHTTP(w, r)
	return nil
}
