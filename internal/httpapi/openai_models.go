package httpapi

import (
	"net/http"
)

func (s *Server) handleOpenAIModels(w http.ResponseWriter, r *http.Request) error {
	models, err := s.cfg.Backend.Models(r.Context())
	if err != nil {
		return err
	}
	list := modelList{Object: "list", Data: make([]openAIModel, len(models))}
	for i, m := range models {
		list.Data[i] = convertModel(m)
	}
	s.writeJSON(w, http.StatusOK, list)
	return nil
}

func (s *Server) handleOpenAIModel(w http.ResponseWriter, r *http.Request) error {
	name := r.PathValue("id")
	if err := checkName(name); err != nil {
		return err
	}
	d, err := s.cfg.Backend.Describe(r.Context(), name)
	if err != nil {
		return err
	}
	s.writeJSON(w, http.StatusOK, convertModel(d.ModelInfo))
	return nil
}

func convertModel(m ModelInfo) openAIModel {
	return openAIModel{ID: m.Name, Object: "model", Created: m.Modified.Unix(), OwnedBy: "library"}
}
