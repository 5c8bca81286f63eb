package chat

import "slices"

// ChatML is the built-in template that most recent models use: turns between
// <|im_start|> and <|im_end|>. Vocabularies that are made for chat carry it.
const ChatML = chatML

// The built-in templates, in the formats that the models of these names were
// trained on. They refuse nothing: a system message goes where the format has a
// place for it, and unknown roles are written as they are.
const (
	chatML = `{%- for message in messages %}
{{- '<|im_start|>' + message.role + '\n' + message.content + '<|im_end|>\n' }}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\n' }}{%- endif %}`

	llama2 = `{%- set ns = namespace(system='') %}
{%- for message in messages %}
{%- if message.role == 'system' %}{%- set ns.system = ns.system + message.content.strip() %}
{%- elif message.role == 'assistant' %}{{- ' ' + message.content.strip() + ' ' + eos_token }}
{%- else %}
{%- set content = message.content.strip() %}
{%- if ns.system %}{%- set content = '<<SYS>>\n' + ns.system + '\n<</SYS>>\n\n' + content %}{%- set ns.system = '' %}{%- endif %}
{{- bos_token + '[INST] ' + content + ' [/INST]' }}
{%- endif %}
{%- endfor %}`

	llama3 = `{{- bos_token }}
{%- for message in messages %}
{{- '<|start_header_id|>' + message.role + '<|end_header_id|>\n\n' + message.content.strip() + '<|eot_id|>' }}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{%- endif %}`

	mistral = `{{- bos_token }}
{%- set ns = namespace(system='') %}
{%- for message in messages %}
{%- if message.role == 'system' %}{%- set ns.system = ns.system + message.content + '\n\n' %}
{%- elif message.role == 'assistant' %}{{- ' ' + message.content.strip() + eos_token }}
{%- else %}{{- '[INST] ' + ns.system + message.content + ' [/INST]' }}{%- set ns.system = '' %}
{%- endif %}
{%- endfor %}`

	zephyr = `{%- for message in messages %}
{{- '<|' + message.role + '|>\n' + message.content + eos_token + '\n' }}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|assistant|>\n' }}{%- endif %}`

	gemma = `{{- bos_token }}
{%- set ns = namespace(system='') %}
{%- for message in messages %}
{%- if message.role == 'system' %}{%- set ns.system = ns.system + message.content.strip() + '\n\n' %}
{%- else %}
{%- set role = 'model' if message.role == 'assistant' else message.role %}
{{- '<start_of_turn>' + role + '\n' + ns.system + message.content.strip() + '<end_of_turn>\n' }}
{%- set ns.system = '' %}
{%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<start_of_turn>model\n' }}{%- endif %}`

	phi3 = `{%- for message in messages %}
{{- '<|' + message.role + '|>\n' + message.content + '<|end|>\n' }}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|assistant|>\n' }}{%- endif %}`
)

// builtins lists the templates; archs are the architectures that fall back to
// one.
var builtins = []struct {
	name, source string
	archs        []string
}{
	{"chatml", chatML, nil}, // also of every architecture not named here
	{"llama2", llama2, nil},
	{"llama3", llama3, nil},
	{"mistral", mistral, nil},
	{"zephyr", zephyr, nil},
	{"gemma", gemma, []string{"gemma2", "gemma3"}},
	{"phi3", phi3, nil},
}

// Builtin returns the source of a built-in template, by its name or by the
// architecture of a model that has no template of its own: gemma's and phi3's
// are known by their architecture, all others get chatml.
func Builtin(name string) string {
	for _, b := range builtins {
		if b.name == name || slices.Contains(b.archs, name) {
			return b.source
		}
	}
	return chatML
}

// BuiltinNames returns the names of the built-in templates.
func BuiltinNames() []string {
	var names []string
	for _, b := range builtins {
		names = append(names, b.name)
	}
	return names
}
