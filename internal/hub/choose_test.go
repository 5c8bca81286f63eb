package hub_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/avalnetwork/aval/internal/hub"
)

func TestChoose(t *testing.T) {
	for _, tc := range []struct {
		name  string
		files string
		tag   string
		want  string // the file taken
		as    string // the tag it is stored under
	}{
		{"the usual size first", "m-F16 m-Q2_K m-Q4_K_M m-Q8_0", "", "m-Q4_K_M", "Q4_K_M"},
		{"then Q8_0", "m-F16 m-Q4_0 m-Q8_0", "", "m-Q8_0", "Q8_0"},
		{"then others", "m-F16 m-Q6_K", "", "m-Q6_K", "Q6_K"},
		{"the only one", "stories", "", "stories", "latest"},
		{"lower case, underscore", "m_q4_k_m m_q8_0", "", "m_q4_k_m", "Q4_K_M"},
		{"a dot before it", "m.Q5_K_S m.IQ4_XS", "iq4_xs", "m.IQ4_XS", "IQ4_XS"},
		{"FP16 is F16", "m-fp16", "", "m-fp16", "F16"},
		{"not a longer one", "m-Q4_K_M m-Q4_K_S m-Q4_K", "q4_k", "m-Q4_K", "Q4_K"},
		{"exact label before a part of one", "m-Q4_K_M m-UD-Q4_K_M", "Q4_K_M", "m-Q4_K_M", "Q4_K_M"},
		{"part of a label", "m-UD-Q4_K_XL m-Q4_0", "Q4_K_XL", "m-UD-Q4_K_XL", "Q4_K_XL"},
		{"with the prefix", "m-UD-Q4_K_XL m-Q4_0", "ud-q4_k_xl", "m-UD-Q4_K_XL", "UD-Q4_K_XL"},
		{"label within the name", "m-Q4_K_M-fp16emb.v2 m-Q8_0", "Q4_K_M", "m-Q4_K_M-fp16emb.v2", "Q4_K_M"},
		{"by file", "a-Q8_0 b-Q8_0", "b-Q8_0.gguf", "b-Q8_0", "b-Q8_0.gguf"},
		{"by file without extension", "a-Q8_0 b-Q8_0", "B-q8_0", "b-Q8_0", "B-q8_0"},
		{"uppermost folder", "sub/m-Q8_0 m-Q8_0 x/y/m-Q8_0", "", "m-Q8_0", "Q8_0"},
		{"in a folder", "BF16/m-BF16 Q8_0/m-Q8_0", "bf16", "m-BF16", "BF16"},
		{"companions are no models", "mmproj-Q8_0 m-imatrix mtp-m-Q8_0 m-Q8_0", "", "m-Q8_0", "Q8_0"},
		{"odd sizes", "m-Q4_0_4_4 m-IQ2_XXS m-TQ1_0 m-MXFP4_MOE m-Q3_K_XL", "q4_0_4_4", "m-Q4_0_4_4", "Q4_0_4_4"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			files := map[string][]byte{}
			for i, f := range strings.Fields(tc.files) {
				files[f+".gguf"] = blob(uint64(i), 10)
			}
			_, cfg, _, st := setup(t, files)
			ref := repo
			if tc.tag != "" {
				ref += ":" + tc.tag
			}
			m, err := pull(t, cfg, st, ref)
			if err != nil {
				t.Fatal(err)
			}
			if m.Files[0].Path != tc.want+".gguf" || m.Name != "hf.co/"+repo+":"+tc.as {
				t.Errorf("took %s as %s", m.Files[0].Path, m.Name)
			}
			if got, err := st.Get(ref); err != nil || got.Name != m.Name {
				t.Errorf("Get(%q) = %q, %v", ref, got.Name, err)
			}
		})
	}
}

func TestChooseRefuses(t *testing.T) {
	for _, tc := range []struct{ name, files, tag, want string }{
		{"none fits", "m-Q4_K_M m-Q8_0", "Q3_K_S", "no model \"Q3_K_S\"; name one of these, as in hf.co/user/repo:Q4_K_M:\n  Q4_K_M (10 bytes)\n  Q8_0 (10 bytes)"},
		{"several without a label", "a b", "", "several models and none of a usual quantisation; name one of these, as in hf.co/user/repo:a.gguf:\n  a.gguf (10 bytes)\n  b.gguf (10 bytes)"},
		{"two fit", "a-Q8_0 b-Q8_0", "", "2 models fit; name one of these, as in hf.co/user/repo:a-Q8_0.gguf:"},
		{"only a part of the word", "m-Q4_K_M", "Q4_K", "no model"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			files := map[string][]byte{}
			for i, f := range strings.Fields(tc.files) {
				files[f+".gguf"] = blob(uint64(i), 10)
			}
			_, cfg, _, st := setup(t, files)
			ref := repo
			if tc.tag != "" {
				ref += ":" + tc.tag
			}
			_, err := pull(t, cfg, st, ref)
			var e *hub.NoMatchError
			if !errors.As(err, &e) || len(e.Candidates) != len(files) || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%v\nwant %s", err, tc.want)
			}
		})
	}
}
