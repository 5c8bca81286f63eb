package token

import (
	"maps"
	"slices"
	"strings"
)

// preset is what the value of tokenizer.ggml.pre means.
type preset struct {
	stages []stage
	whole  bool // a word that is a token is not merged from its parts
	bos    bool // BOS is added unless the file says otherwise
	raw    bool // words are UTF-8 as it is, not bytes written as characters
	escape bool // spaces are written as U+2581
	lines  bool // runs of newlines that are a token are not merged from their parts
}

// escapedSpace is how SentencePiece writes a space.
const escapedSpace = "▁"

// Patterns that several models share.
var (
	gpt2Stages  = []stage{each(gpt2Words)}
	digitStages = []stage{each(ones(isNumber)), each(gpt2Words)}
	llama3Words = pattern{letters: letter, digits: 3}
	qwen2Words  = pattern{letters: letter, digits: 1}
	gpt4oWords  = pattern{letters: letter, digits: 3, cased: true, short: shortWith, slash: true}
	markedWords = pattern{letters: letter | mark, digits: 3, short: shortWith, slash: true}
	bloomStages = []stage{each(bloomWords)}
)

// presetRow gives a preset its names.
type presetRow struct {
	names string // separated by spaces
	preset
}

// presetRows is the list of all known pre-tokenizers.
var presetRows = []presetRow{
	{"default", preset{stages: []stage{
		each(runs(marks(false))), each(gpt2Words), each(runs(isNumber)), each(groups(3, false, isDigit)),
	}}},
	{
		"gpt-2 phi-2 jina-es jina-de gigachat jina-v2-es jina-v2-de a.x-4.0 mellum modern-bert exaone4 " +
			"jina-v1-en jina-v2-code roberta-bpe mpt olmo jais trillion granite-docling",
		preset{stages: gpt2Stages},
	},
	{"starcoder refact command-r smollm codeshell exaone minerva-7b mellum2", preset{stages: digitStages}},
	{"falcon", preset{stages: []stage{
		each(runs(marks(true))), each(gpt2Words), each(groups(3, false, isDigit)),
	}}},
	{
		"llama3 llama-v3 llama-bpe falcon3 falcon-h1 pixtral midm-2.0 lfm2 jina-v5-nano",
		preset{stages: []stage{each(llama3Words.scan)}, whole: true, bos: true},
	},
	{"dbrx smaug-bpe glm4 chatglm-bpe", preset{stages: []stage{each(llama3Words.scan)}}},
	{"jais-2", preset{stages: []stage{each(llama3Words.scan), each(powers)}}},
	{"minicpm5", preset{stages: []stage{
		each(groups(3, true, isNumber)), each((&pattern{letters: letter}).scan),
	}, whole: true}},
	{
		"qwen2 deepseek-r1-qwen kormo f2llmv2 stablelm2 hunyuan solar-open megrez grok-2 " +
			"bailingmoe bailingmoe2 llada-moe",
		preset{stages: []stage{each(qwen2Words.scan)}},
	},
	{"qwen35", preset{stages: []stage{each((&pattern{letters: letter | mark, digits: 1, apart: mark}).scan)}}},
	{"laguna", preset{stages: []stage{each(newlines), each(qwen2Words.scan)}}},
	{"seed-coder", preset{stages: []stage{each((&pattern{letters: letter, digits: 1, bare: true}).scan)}}},
	{"exaone-moe", preset{stages: []stage{
		each((&pattern{letters: letter, digits: 1, phrases: true, slash: true, one: true}).scan),
	}}},
	{"tekken", preset{
		stages: []stage{each((&pattern{letters: letter, digits: 1, cased: true, slash: true, short: shortNone}).scan)},
		whole:  true, bos: true,
	}},
	{"gpt-4o llama4 kanana2 talkie minimax-m2", preset{stages: []stage{each(gpt4oWords.scan)}}},
	{"granite-embed-multi-97m", preset{
		stages: []stage{each((&pattern{letters: letter | mark, digits: 3, cased: true, short: shortWith, slash: true}).scan)},
		whole:  true,
	}},
	{"tiny_aya cohere2moe", preset{stages: []stage{thousands, each(markedWords.scan)}}},
	{"youtu", preset{
		stages: []stage{
			each(youtuScripts),
			each((&pattern{letters: letter | mark, digits: 1, short: shortWith, slash: true}).scan),
		},
		whole: true,
	}},
	{"deepseek-llm", preset{stages: []stage{
		each(ones(isLineEnd)), each(spaced(deepseekLetter)), each(spaced(deepseekPunct)), each(trailing),
		each(runs(cjk)), each(runs(isNumber)),
	}}},
	{"deepseek-coder", preset{stages: []stage{
		each(ones(isLineEnd)), each(spaced(isLetter)), each(spaced(isPunct)), each(runs(cjk)), each(ones(isNumber)),
	}}},
	{
		"deepseek-v3 hunyuan-dense joyai-llm",
		preset{stages: []stage{each(groups(3, true, isNumber)), each(runs(kana)), each(deepseekWords)}},
	},
	{"afmoe", preset{stages: []stage{thousands, each(runs(asianScripts)), each(deepseekWords)}}},
	{"kimi-k2", preset{stages: []stage{each(kimiWords)}}},
	{"superbpe", preset{stages: []stage{each(runs(isNumber)), threes}}},
	{"poro-chat bloom gpt3-finnish", preset{stages: bloomStages}},
	{"viking", preset{stages: []stage{each(bloomWords), each(ones(isNumber))}}},
	{"chameleon", preset{stages: []stage{
		each(sentinels), each(images), each(chameleonSpace), each(ones(isNumber)), each(ones(asciiPunct)), each(gpt2Words),
	}, bos: true}},
	{"gemma4 granite-embed-multi-311m", preset{stages: []stage{each(newlines)}, raw: true, escape: true, bos: true, lines: true}},
	{"sarvam-moe", preset{stages: []stage{each(newlines)}, raw: true, escape: true}},
	{"whitespace", preset{stages: []stage{each(runs(notSpace))}, raw: true}},
}

// findPreset returns the preset with a name. A file without the key, from
// before it existed, means "default".
func findPreset(name string) (preset, error) {
	if name == "" {
		name = "default"
	}
	known := map[string]bool{}
	for _, row := range presetRows {
		for _, n := range strings.Fields(row.names) {
			if n == name {
				return row.preset, nil
			}
			known[n] = true
		}
	}
	return preset{}, keyError(keyPre, "pre-tokenizer %q is not known; known are %s",
		name, strings.Join(slices.Sorted(maps.Keys(known)), ", "))
}
