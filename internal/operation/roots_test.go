package operation_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/avalnetwork/aval/internal/operation"
	"github.com/avalnetwork/aval/internal/sample"
	"github.com/avalnetwork/aval/internal/testmodel"
)

// roots are those of four cells of each small model after reading Text: layer
// 0 and the last one at the last position, the next token chosen greedily and
// drawn. They change only with the version of the trace.
var roots = map[string][4]string{
	"llama": {
		"7c6910c188e0dd3bdbb86f67124f6d2c05e6c06b08f444b69a5c49684687de65",
		"5289cd67aa2f66fe4694ba41bd45768fb3f00debc60d1f68d4c02b98ff2bc7a6",
		"361efc6de21a8e9c6de12f9e49f4bd64fa1ec6bfc3f5ef48f94640c1f7b7907a",
		"e974fafb1906814a8c3795e9fc9ad2e8ce82d7e0217965c68f3f9aba1e0d1dee",
	},
	"llama-linear": {
		"851fb55ca38cb98ad9fe21dcd45515857a8a9fa833b1742571ff7ea8f4903c35",
		"78fd770d6c19083adae10e0ddb3763274bfc9ac8a4dd43f335504f006028c9b1",
		"3f2dda23d8b52ca28f83ebbfd2c486eb38f6a0343bd8187015bba4350f2d1735",
		"90a86f27abe38b105d821a907a0b5daac90fee2fb4a096220468a98928c49f10",
	},
	"llama-yarn": {
		"81338465a94d5638374e17f2edd3ff0e2a7f555be3e7b486c72dc78cdb84e692",
		"29e8d7c9451b8cfa85f009ef98581db7027f8bd69a86f21c47b4b9e01dcd0bbb",
		"f9962dc6034e3211816c4f99222836bc035178262702a00d6b8e53f8ac0e0951",
		"1d4bb29f05f84062af76f39794159f11bf42c48774f3ca9c7693e48089be5ce6",
	},
	"qwen2": {
		"3e8a389818877767930902d513b498e271b28876f28354385d33c7f4cf4b5e3a",
		"786ca50b6a1456430d6af8a4bdccd120a2bdf278d420c646207607aef2859e8b",
		"2c7689ad3752dc9f0b3c8773cfb2214f350de3755dccb0d5db48ee73f28d4e83",
		"ad81b1c666ad8b9ede72be8a41a124d318f368a6f79a9de3ec60884e6b0a4b5d",
	},
	"qwen2-yarn": {
		"224335f975c567eded485797a1c6c60a1c908b5e873b5041c2d7e0dc8c33a254",
		"1d8c22edc66cdd0ae953bbf0f40439f659489ade75845ca57c263fed0560f14d",
		"ba0f53726de08d8802262a3aec6711e62b6ffb8c624c8699d77865b9fab93a60",
		"ecb1ee22b326413c3f6cb340691589d53e38be82caf635f5abcdca63df685923",
	},
	"qwen3": {
		"1e616f52f878292f206a60dac91e408c53cb83f0f7fe8ab8aa4ef26715c905fc",
		"fdcf4e1309cdf75ef75b87de7d007e42b0b73f6da5c125b132f7c37426528d5b",
		"9d2c27ef5c6ec43f36193da436a41c99a9302ef6700d15834fdd6cf3758d3dc2",
		"6a5f7cebcfe3534b539f7f0f53724938cee80ae6eea213d035f99114b6186f7a",
	},
	"gemma2": {
		"c10ed1969960a93385d218d88cdb6668b98bc448ba1034f67b6c1e46e79a83c9",
		"1bf2c565542eb6a5d0f2fa97c353d96b35d49884f3c60d87aa3dba5341a8e38e",
		"6cd209f2d11eefd6b374aea2c163071b84cb366cf0cb1b345537a1025606439e",
		"61946bee020abe4104e81bc366a21bc541e76569bd920af375993fd865009fca",
	},
	"gemma3": {
		"ce3192eba59626e84c8f031fc0ad7c2de0ba7db977af01bb49b6e4ebb8f70125",
		"e8f2585f5d7aa0aa50ab511c6f046f4c06552006cedc941c984d8ead9ee4fa92",
		"8543087fb65a92d1f8fa95c1a0577eca6e43ad8933f953ff3dcee4b292fb806a",
		"107adaff109ce9d8e8ffc34a00000cc6ac1a0a6115c2356fb3427c597892bd0a",
	},
	"gemma3-default": {
		"5d1787bd56ce565b88561ed1b8ff5854cef0e9e5f76d87d7bcca245a229c3fff",
		"6ec1ae2637d051a550d42b0d44d410f221c1737a02a351d3787b5ff846f8341a",
		"8cf1af58846a31b83c32a5e01b4645bf65a41153597ac5125e7e15b65f5d4a90",
		"24df9cca15f030cb81f912b1b9033ce188643653f0a5ca5334e1aa9a21c391e0",
	},
	"gemma3-wide": {
		"f841d5a7034eeb6077033f61f6ee3557ede5727ed420bb49d3e908a9d0f49719",
		"79eacec66fc50301ef36b3277a9aa61a381a056ea09b44b596111fc0a1ffc632",
		"3deda0491641bb64196d5bb0b062ca5121d121c3f83a829f0c556a4f3027eb6d",
		"f111bf1344b5182960dd56cab88ec6cb9ab25066ce0ab6549a788a3bd2362756",
	},
	"gemma2-largest": {
		"cc2abde9b11ceea8b3823ab50f98205f8b170028442e18220c0b93b760f14315",
		"b6b87ba05494905c1c6abd54bc7f312b9ce452a8610d0fcba2c470d9379d099c",
		"bb9a4de651150cd8a6b1472dc9027a24afb67c6facf5640d222f8e7e8d19f7c2",
		"2f0eccaf70840e1bf8ab1df378c20f0b969c81d89e06aaf6f65d2c113083fb9f",
	},
	"gemma3-largest": {
		"8b4e7ecbc24f440e994e33f4962353d78046934ccd5219a3bc5b10d5eb0d82f7",
		"bc0ee2453e004cfc741329184e88a0bd6a7740c541040d11836a0a9bfb896393",
		"e06f252f518d8275aa739699c8b1ee947d7598940c42239c210f650ca6bd0ac1",
		"c92788b83c08263729a27f1e0f1c454d01a3bf8a7cdd1abbe083d27a29d3c963",
	},
	"phi3-short": {
		"29054f23146791b09957b0d2ae8a9351059654b0b154a88b5b0d6e4e50b127b0",
		"ef7ce704da1dbda6f5db126771e904c4a692c80b35841ab956bcb345fd07cf3e",
		"3d4180c8f7e90a75f92e33c07f2a5485f0833d35d3c7600414d56d9c3ed154ec",
		"6db0e77f6b6414452f94a9175efcdd2b369e11a45142c87d32f70a8502a87e0e",
	},
	"phi3-long": {
		"ea5a85c209169c600d75bc1bc28235697a74813a5838e55e157a600dc932e626",
		"c26ba87af458c80d79e6a3f7bdbdb238bafd68efe7da2d0c1781b5a615665a05",
		"399d92f1272446cd4c43edd1ecf3e37ccb32ebab9c8ac8b889d5446700a2e7f4",
		"6ad9d52934fd84ec6b2820473c9562daa912ba41504f8dcd13896237cbbf6f54",
	},
	"smollm3": {
		"5180fbbecaadae17968e342ab49e5fa9e189382f6d37b970d34a2c04d9ed0e06",
		"d3596bab242ed86d1937ab4a97c2fb71e4c6e1c548dd383c451a95a364db4ca2",
		"126a13de09c7c36eadfe7971098bbf574b049d589627e5d52e156d8256c7c865",
		"d43587744d5436687cbdc2addaca71eaf4419bbf7368e02884d8dbe33c2c63cd",
	},
}

func TestRoots(t *testing.T) {
	got := map[string][4]string{}
	for i := range testmodel.Models {
		s := &testmodel.Models[i]
		r := open(t, s)
		r.read(testmodel.Text())
		last := len(r.tokens) - 1
		var list [4]string
		for i, p := range []*operation.Plan{
			r.layer(0, last), r.layer(s.Layers-1, last), r.output(0, sample.Params{}),
			r.output(0, sample.Params{
				Temperature: 0.8, TopK: 30, TopP: 0.9, MinP: 0.02, RepeatPenalty: 1.1, FrequencyPenalty: 0.1, PresencePenalty: 0.2,
				LogitBias: map[int32]float32{7: 1.5}, Seed: 42,
			}),
		} {
			list[i] = r.compute(p).Root().String()
		}
		got[s.Name] = list
	}
	if d := cmp.Diff(roots, got); d != "" {
		t.Errorf("roots differ (-want +got):\n%s", d)
	}
}
