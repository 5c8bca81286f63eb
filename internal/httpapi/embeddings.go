package httpapi

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"math"
	"net/http"
	"time"
)

func (s *Server) handleOpenAIEmbeddings(w http.ResponseWriter, r *http.Request) error {
	var req embeddingRequest
	if err := decode(r.Body, &req); err != nil {
		return err
	}
	switch req.EncodingFormat {
	case "", "float", "base64":
	default:
		return badRequest("encoding_format", "encoding_format is %q, want float or base64", req.EncodingFormat)
	}
	if len(req.Input) == 0 {
		return badRequest("input", "input is missing")
	}
	rec := recordOf(r)
	return s.use(r.Context(), rec, req.Model, req.KeepAlive.open(0), func(m Model, _ time.Duration) error {
		vectors, tokens, err := s.embed(r.Context(), m, req.Input, "input", req.Dimensions)
		if err != nil {
			return err
		}
		rec.prompt = tokens
		out := embeddingResponse{Object: "list", Model: m.Info().Name, Usage: embeddingUsage{tokens, tokens}}
		for i, v := range vectors {
			d := embeddingData{Object: "embedding", Index: i, Embedding: v}
			if req.EncodingFormat == "base64" {
				d.Embedding = base64Floats(v)
			}
			out.Data = append(out.Data, d)
		}
		s.writeJSON(w, http.StatusOK, out)
		return nil
	})
}

// embed returns the unit vectors of the texts and how many tokens they have.
func (s *Server) embed(ctx context.Context, m Model, texts promptList, param string, dims *int) ([][]float32, int, error) {
	info := m.Info()
	if dims != nil && *dims != info.Dim {
		return nil, 0, unsupported("dimensions", "dimensions is %d, but embeddings of %s have %d, and cutting them would not keep their meaning",
			*dims, info.Name, info.Dim)
	}
	all, total := make([][]int32, len(texts)), 0
	for i, text := range texts {
		var err error
		if all[i], err = text.promptTokens(m, param); err != nil {
			return nil, 0, err
		}
		total += len(all[i])
	}
	vectors := make([][]float32, len(texts))
	err := each(ctx, len(texts), func(ctx context.Context, i int) error {
		v, err := m.Embed(ctx, all[i])
		if err != nil {
			return err
		}
		vectors[i] = unit(v)
		return nil
	})
	s.metrics.tokens.Add(float64(total), "prompt")
	return vectors, total, err
}

// unit scales a vector to the length 1. The sum is in one order and each
// product is exact in float64, so all machines give the same bits.
func unit(v []float32) []float32 {
	sum := float64(0)
	for _, x := range v {
		sum = float64(float64(x)*float64(x)) + sum
	}
	if sum == 0 {
		return v
	}
	norm := math.Sqrt(sum)
	out := make([]float32, len(v))
	for i, x := range v {
		out[i] = float32(float64(x) / norm)
	}
	return out
}

// base64Floats is the form that OpenAI's clients ask for: little-endian
// float32 in base64.
func base64Floats(v []float32) string {
	b := make([]byte, 0, 4*len(v))
	for _, x := range v {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(x))
	}
	return base64.StdEncoding.EncodeToString(b)
}
