package grammar_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/avalnetwork/aval/internal/grammar"
)

func TestSchema(t *testing.T) {
	long := strings.Repeat("x", 300)
	tests := []struct {
		name, schema string
		yes, no      []string
	}{
		{"null", `{"type":"null"}`, []string{`null`}, []string{`nul`, `nulll`, ` null`, `null `, `0`}},
		{"boolean", `{"type":"boolean"}`, []string{`true`, `false`}, []string{`True`, `1`}},
		{"integer", `{"type":"integer"}`, []string{`0`, `-0`, `7`, `-12`, `9223372036854775807`, `-9223372036854775808`, `18446744073709551615`}, []string{`01`, `1.0`, `1e3`, `+1`, `-`, strings.Repeat("9", 22)}},
		{"number", `{"type":"number"}`, []string{`0`, `-1.5`, `1e5`, `1E+5`, `2.5e-07`, `1e300`, `9.9e307`, `100000000000000000000`, `1e-324`}, []string{`.5`, `1.`, `1e999`, `99e200`, `1e308`, `NaN`, `0x1`, `1e`}},
		{"string", `{"type":"string"}`, []string{`""`, `"a ä € 😀"`, `"\"\\\/\b\f\n\r\t"`, `"\u00e4\u2028\ud83d\ude00\uFFFF"`, `"` + "\x7f" + `"`, `"` + long + `"`}, []string{`"`, `"a`, "\"\n\"", `"\a"`, `"\u12"`, `"\ud83d"`, `"\ude00"`, `"\ud83d\u0041"`, "\"\xff\"", `'a'`}},
		{"true", `true`, []string{`1`, `{}`, `[1,"a",null]`, `{"a": {"b": []}}`}, []string{``, `{a:1}`, `[1,]`, `{"a":1,}`}},
		{"empty", `{}`, []string{`1`, `{}`}, []string{``}},
		{"whitespace", `{"type":"object"}`, []string{`{}`, `{ }`, "{\n}", `{"a":1}`, `{"a": 1, "b":[ ]}`, "{\n  \"a\": 1,\n  \"b\": [\n    1,\n    2\n  ]\n}", "{\n\t\"a\": 1\n}"}, []string{` {}`, `{} `, `{  }`, "{\n\n}", `{"a" :1}`, `{"a":  1}`, `{"a":1 ,"b":2}`, "{\r\n}"}},

		{"required properties", `{"type":"object","properties":{"a":{"type":"integer"},"b":{"type":"string"}},"required":["a","b"]}`, []string{`{"a":1,"b":"x"}`, `{"a": 1, "b": "x"}`}, []string{`{}`, `{"a":1}`, `{"b":"x","a":1}`, `{"a":1,"b":"x","c":1}`, `{"a":"1","b":"x"}`, `{"a":1"b":"x"}`}},
		{"optional properties", `{"properties":{"a":{"type":"null"},"b":{"type":"null"},"c":{"type":"null"}}}`, []string{`{}`, `{"a":null}`, `{"b":null}`, `{"c":null}`, `{"a":null,"c":null}`, `{"a":null,"b":null,"c":null}`, `{"b":null,"c":null}`}, []string{`{,"a":null}`, `{"a":null,}`, `{"c":null,"a":null}`, `{"a":null,"a":null}`, `{"d":null}`}},
		{"optional before required", `{"properties":{"a":{"type":"null"},"b":{"type":"null"},"c":{"type":"null"},"d":{"type":"null"}},"required":["c"]}`, []string{`{"c":null}`, `{"a":null,"c":null}`, `{"b":null,"c":null,"d":null}`, `{"a":null,"b":null,"c":null,"d":null}`, `{"c":null,"d":null}`}, []string{`{}`, `{"a":null}`, `{"d":null}`, `{"a":null,"d":null}`}},
		{"required but not in properties", `{"properties":{"a":{"type":"null"}},"required":["b"]}`, []string{`{"a":null,"b":1}`, `{"b":[]}`}, []string{`{"a":null}`, `{}`}},
		{"additional properties", `{"properties":{"ab":{"type":"null"},"ac":{"type":"null"}},"additionalProperties":{"type":"integer"},"required":["ab"]}`, []string{`{"ab":null}`, `{"ab":null,"ac":null,"x":1}`, `{"ab":null,"a":1,"abc":2,"":3,"ad":4,"<":1,"\u003c":1}`}, []string{`{"ab":null,"ab":1}`, `{"ab":null,"x":null}`, `{"x":1,"ab":null}`, `{"ab":null,"\u0061c":1}`, `{"ab":null,"a\u0063":1}`}},
		{"only additional properties", `{"type":"object","additionalProperties":{"type":"boolean"}}`, []string{`{}`, `{"a":true,"b":false}`}, []string{`{"a":1}`, `{"a":true,}`}},
		{"optional and additional", `{"properties":{"a":{"type":"null"},"b":{"type":"null"}},"additionalProperties":true}`, []string{`{}`, `{"x":1}`, `{"a":null}`, `{"b":null,"x":[1]}`, `{"a":null,"b":null,"y":{},"x":1}`}, []string{`{"x":1,"a":null}`, `{"a":1}`}},
		{"no properties", `{"type":"object","additionalProperties":false}`, []string{`{}`, `{ }`}, []string{`{"a":1}`}},
		{"property name that needs escapes", `{"properties":{"a\"<\nä/":{"type":"null"}},"required":["a\"<\nä/"],"additionalProperties":true}`, []string{`{"a\"<\nä/":null}`, `{"a\"\u003c\nä/":null}`, `{"a\u0022<\u000aä/":null,"a\"<":1}`}, []string{`{"a\"<\nä/":null,"a\"\u003C\nä/":1}`}},
		{"property that cannot be", `{"properties":{"a":false,"b":{"type":"null"}}}`, []string{`{}`, `{"b":null}`}, []string{`{"a":null}`}},

		{"array", `{"type":"array","items":{"type":"integer"}}`, []string{`[]`, `[1]`, `[1,2, 3]`, "[\n  1,\n  2\n]"}, []string{`[,]`, `[1,]`, `["a"]`, `[1 ,2]`}},
		{"any array", `{"type":"array"}`, []string{`[]`, `[[],{},"a"]`}, []string{`{}`}},
		{"sized array", `{"type":"array","items":{"type":"integer"},"minItems":2,"maxItems":3}`, []string{`[1,2]`, `[1,2,3]`}, []string{`[]`, `[1]`, `[1,2,3,4]`}},
		{"array with a minimum", `{"type":"array","items":{"type":"integer"},"minItems":1}`, []string{`[1]`, `[1,2]`}, []string{`[]`}},
		{"array of many", `{"type":"array","items":{"enum":[0]},"minItems":500,"maxItems":600}`, []string{`[0` + strings.Repeat(`,0`, 499) + `]`, `[0` + strings.Repeat(`,0`, 599) + `]`}, []string{`[0` + strings.Repeat(`,0`, 498) + `]`, `[0` + strings.Repeat(`,0`, 600) + `]`}},
		{"empty array", `{"type":"array","maxItems":0}`, []string{`[]`}, []string{`[1]`}},
		{"no items", `{"type":"array","items":false}`, []string{`[]`}, []string{`[1]`}},
		{"tuple", `{"prefixItems":[{"type":"integer"},{"type":"string"}]}`, []string{`[]`, `[1]`, `[1,"a"]`}, []string{`["a"]`, `[1,"a",1]`}},
		{"tuple with more", `{"prefixItems":[{"type":"integer"},{"type":"string"}],"items":{"type":"null"},"minItems":2,"maxItems":4}`, []string{`[1,"a"]`, `[1,"a",null,null]`}, []string{`[1]`, `[1,"a",null,null,null]`, `[1,null]`}},
		{"tuple of draft 7", `{"type":"array","items":[{"type":"integer"}],"additionalItems":{"type":"null"}}`, []string{`[]`, `[1]`, `[1,null]`}, []string{`[null]`}},
		{"tuple cut short", `{"prefixItems":[{"type":"integer"},{"type":"string"}],"maxItems":1}`, []string{`[]`, `[1]`}, []string{`[1,"a"]`}},

		{"minLength", `{"type":"string","minLength":2}`, []string{`"ab"`, `"\u00e4\n"`, `"` + long + `"`}, []string{`""`, `"a"`, `"\n"`, `"\ud83d\ude00"`}},
		{"one or more", `{"type":"string","minLength":1}`, []string{`"a"`, `"ab"`}, []string{`""`}},
		{"maxLength", `{"type":"string","maxLength":3}`, []string{`""`, `"äöü"`, `"\ud83d\ude00ab"`}, []string{`"abcd"`}},
		{"long lengths", `{"type":"string","minLength":290,"maxLength":300}`, []string{`"` + long + `"`, `"` + long[:290] + `"`}, []string{`"` + long + `x"`, `"` + long[:289] + `"`}},
		{"huge length", `{"type":"string","maxLength":1000000000}`, []string{`"` + long + `"`}, nil},
		{"pattern", `{"type":"string","pattern":"^[a-c]+\\d{2,3}$"}`, []string{`"a12"`, `"abc123"`}, []string{`"12"`, `"a1"`, `"a1234"`, `"d12"`}},
		{"open pattern", `{"type":"string","pattern":"b"}`, []string{`"b"`, `"abc"`}, []string{`"a"`, `""`}},
		{"half open pattern", `{"type":"string","pattern":"^b"}`, []string{`"b"`, `"bc"`}, []string{`"ab"`}},
		{"anchored alternatives", `{"type":"string","pattern":"^a$|^b$|c$"}`, []string{`"a"`, `"b"`, `"xc"`}, []string{`"ab"`, `"cx"`}},
		{"pattern with characters to escape", `{"type":"string","pattern":"^[\"\\\\\\n<]+$"}`, []string{`"\"\\\n<"`, `"\u0022\u005c\u000A\u003c"`}, []string{`"""`, `"a"`}},
		{"pattern with unicode", `{"type":"string","pattern":"^[\\u00e4-\\u00fc]\\/(?i)k$"}`, []string{`"ä/k"`, `"ü/K"`, `"ö\/k"`}, []string{`"a/k"`}},
		{"pattern with a negated class", `{"type":"string","pattern":"^[^,]*$"}`, []string{`""`, `"a\"\n€"`}, []string{`","`}},
		{"pattern and length", `{"type":"string","pattern":"^[a-z]+$","maxLength":3}`, []string{`"a"`, `"abc"`}, []string{`""`, `"abcd"`}},
		{"pattern that implies the length", `{"type":"string","pattern":"^a{3}$","minLength":3,"maxLength":9}`, []string{`"aaa"`}, []string{`"aa"`}},
		{"date", `{"type":"string","format":"date"}`, []string{`"2024-02-29"`, `"2023-12-31"`, `"2000-02-29"`}, []string{`"2023-02-29"`, `"1900-02-29"`, `"2023-13-01"`, `"2023-04-31"`, `"23-01-01"`}},
		{"time", `{"type":"string","format":"time"}`, []string{`"23:59:59Z"`, `"00:00:00.123+02:00"`}, []string{`"24:00:00Z"`, `"12:00Z"`, `"12:00:00"`}},
		{"date-time", `{"type":"string","format":"date-time"}`, []string{`"2024-02-29T12:30:00Z"`, `"2024-01-01T00:00:00.5-08:00"`}, []string{`"2024-02-30T12:30:00Z"`, `"2024-02-29 12:30:00Z"`, `"2024-01-01"`}},
		{"uuid", `{"type":"string","format":"uuid"}`, []string{`"123e4567-e89b-12d3-a456-426614174000"`}, []string{`"123e4567e89b12d3a456426614174000"`}},
		{"ipv4", `{"type":"string","format":"ipv4"}`, []string{`"192.168.0.255"`}, []string{`"256.1.1.1"`, `"1.1.1"`}},
		{"ipv6", `{"type":"string","format":"ipv6"}`, []string{`"::"`, `"::1"`, `"fe80::1:2"`, `"1:2:3:4:5:6:7:8"`, `"1::"`}, []string{`"1:2:3"`, `"1::2::3"`}},
		{"email", `{"type":"string","format":"email"}`, []string{`"a.b+c@example.org"`}, []string{`"a@"`, `"@b.c"`, `"a b@c.d"`}},
		{"hostname, uri, duration", `{"type":"array","prefixItems":[{"format":"hostname"},{"format":"uri"},{"format":"duration"}]}`, []string{`["a-b.example","https://example.org/a?b=c#d","P1Y2M3DT4H"]`}, []string{`["-a"]`}},
		{"format that is an annotation", `{"type":"string","format":"password"}`, []string{`"x"`}, nil},

		{"minimum", `{"type":"integer","minimum":5}`, []string{`5`, `9`, `10`, `123456789`}, []string{`4`, `-5`, `05`, `0`}},
		{"maximum", `{"type":"integer","maximum":-5}`, []string{`-5`, `-17`}, []string{`5`, `-4`, `0`}},
		{"around zero", `{"type":"integer","minimum":-12,"maximum":105}`, []string{`-12`, `-1`, `0`, `99`, `100`, `105`}, []string{`-13`, `106`, `-0`, `1000`, `00`}},
		{"exclusive", `{"type":"integer","exclusiveMinimum":0,"exclusiveMaximum":10}`, []string{`1`, `9`}, []string{`0`, `10`}},
		{"fractional bounds of integers", `{"type":"integer","minimum":1.5,"maximum":3.5e0}`, []string{`2`, `3`}, []string{`1`, `4`}},
		{"number from 0 to 1", `{"type":"number","minimum":0,"maximum":1}`, []string{`0`, `1`, `0.5`, `1.0`, `0.999`, `0.0`}, []string{`-0.1`, `1.01`, `2`, `1e0`, `10`}},
		{"number with open bounds", `{"type":"number","exclusiveMinimum":0,"exclusiveMaximum":2.25}`, []string{`0.01`, `1`, `1.99`, `2`, `2.2`, `2.249`}, []string{`0`, `0.0`, `2.25`, `2.250`, `2.3`, `3`}},
		{"number between fractions", `{"type":"number","minimum":1.25,"maximum":1.5}`, []string{`1.25`, `1.3`, `1.5`, `1.50`, `1.2500`, `1.4999`}, []string{`1.2`, `1`, `1.51`, `1.24999`}},
		{"negative numbers", `{"type":"number","minimum":-2.5,"maximum":-1}`, []string{`-1`, `-2.5`, `-1.5`, `-1.0`}, []string{`-0.5`, `-2.6`, `1`, `0`}},
		{"number with one bound", `{"type":"number","minimum":-1.5}`, []string{`-1.5`, `-0.3`, `0`, `12345.678`}, []string{`-1.6`, `-2`}},
		{"integer or number", `{"type":["integer","number"]}`, []string{`1`, `1.5`}, nil},

		{"enum", `{"enum":["a","b<c",1,1.50,null,[1,{"x":2}],{}]}`, []string{`"a"`, `"b<c"`, `"b\u003cc"`, `1`, `1.50`, `1.5`, `null`, `[1,{"x":2}]`, `[1, {"x": 2}]`, `{}`}, []string{`"c"`, `2`, `[1]`}},
		{"enum of texts that begin alike", `{"enum":["a","","abc","abd","ab","äa","äb",12,1,123,true,"true"]}`, []string{`"a"`, `""`, `"abc"`, `"abd"`, `"ab"`, `"äa"`, `"äb"`, `12`, `1`, `123`, `true`, `"true"`}, []string{`"äc"`, `13`, `"abcd"`, `"tru"`, `tru`, ``}},
		{"const", `{"const":"x\ny"}`, []string{`"x\ny"`, `"x\u000ay"`}, []string{`"x"`}},
		{"enum and type", `{"type":"string","enum":["a",1],"maxLength":4}`, []string{`"a"`}, []string{`1`}},
		{"enum and pattern", `{"enum":["ab","cd"],"pattern":"^a"}`, []string{`"ab"`}, []string{`"cd"`}},
		{"type list", `{"type":["string","null"],"maxLength":1}`, []string{`"a"`, `null`}, []string{`"ab"`, `1`}},
		{"nullable", `{"type":"string","nullable":true}`, []string{`"a"`, `null`}, []string{`1`}},

		{"anyOf", `{"anyOf":[{"type":"integer"},{"type":"null"}]}`, []string{`1`, `null`}, []string{`"a"`}},
		{"oneOf", `{"oneOf":[{"const":1},{"const":2}]}`, []string{`1`, `2`}, []string{`3`}},
		{"anyOf beside properties", `{"properties":{"k":{"type":"string"}},"required":["k"],"anyOf":[{"properties":{"a":{"type":"null"}},"required":["a"]},{"properties":{"b":{"type":"null"}},"required":["b"]}]}`, []string{`{"k":"","a":null}`, `{"k":"","b":null}`}, []string{`{"k":""}`, `{"k":"","a":null,"b":null}`}},
		{"allOf", `{"allOf":[{"properties":{"a":{"type":"integer","minimum":3}},"required":["a"]},{"properties":{"a":{"maximum":4},"b":{"type":"null"}}}]}`, []string{`{"a":3}`, `{"a":4,"b":null}`}, []string{`{"a":2}`, `{"a":5}`, `{}`, `{"b":null}`}},
		{"allOf of types", `{"allOf":[{"type":["integer","string"]},{"type":["number","null"]}]}`, []string{`1`}, []string{`1.5`, `"a"`, `null`}},
		{"allOf of enums", `{"allOf":[{"enum":[1,2,3]},{"enum":[3.0,2]}]}`, []string{`2`, `3`}, []string{`1`}},
		{"allOf with a closed part", `{"allOf":[{"properties":{"a":{}},"additionalProperties":false},{"properties":{"a":{"type":"null"},"b":{}}}]}`, []string{`{}`, `{"a":null}`}, []string{`{"b":1}`, `{"a":1}`}},
		{"allOf with a typed part", `{"allOf":[{"additionalProperties":{"type":"integer"}},{"properties":{"a":{"minimum":3}}}]}`, []string{`{"a":3}`, `{"b":1}`}, []string{`{"a":1}`, `{"a":3.5}`}},

		{"ref", `{"$defs":{"x":{"type":"integer"}},"properties":{"a":{"$ref":"#/$defs/x"}},"required":["a"]}`, []string{`{"a":1}`}, []string{`{"a":"b"}`}},
		{"ref with escapes", `{"definitions":{"x/y~ z":{"type":"integer"}},"$ref":"#/definitions/x~1y~0%20z"}`, []string{`1`}, []string{`"a"`}},
		{"ref beside keywords", `{"$defs":{"x":{"type":"integer"}},"$ref":"#/$defs/x","maximum":3}`, []string{`3`}, []string{`4`}},
		{"recursion", `{"$defs":{"n":{"type":"object","properties":{"v":{"type":"integer"},"next":{"anyOf":[{"$ref":"#/$defs/n"},{"type":"null"}]}},"required":["v","next"]}},"$ref":"#/$defs/n"}`, []string{`{"v":1,"next":null}`, `{"v":1,"next":{"v":2,"next":{"v":3,"next":null}}}`}, []string{`{"v":1}`, `{"v":1,"next":{}}`}},
		{"recursion by the root", `{"type":"object","properties":{"children":{"type":"array","items":{"$ref":"#"}}},"additionalProperties":false}`, []string{`{}`, `{"children":[{},{"children":[]}]}`}, []string{`{"children":[1]}`}},
		{"recursive anyOf", `{"anyOf":[{"type":"integer"},{"type":"array","items":{"$ref":"#"}}]}`, []string{`1`, `[1,[2,[]]]`}, []string{`["a"]`}},
		{"annotations", `{"$schema":"x","title":"t","description":"d","default":1,"x-y":{"not":1},"type":"null","examples":[2]}`, []string{`null`}, []string{`1`}},
		{"harmless keywords", `{"type":"array","uniqueItems":false,"unevaluatedItems":false}`, []string{`[1,1]`}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			g, err := grammar.FromJSONSchema([]byte(tt.schema))
			if err != nil {
				t.Fatal(err)
			}
			for _, s := range tt.yes {
				if whole, _ := fits(t, g, s); !whole {
					t.Errorf("%.200s is refused", s)
				}
			}
			for _, s := range tt.no {
				if whole, _ := fits(t, g, s); whole {
					t.Errorf("%.200s is accepted", s)
				}
			}
		})
	}
}

func TestSchemaErrors(t *testing.T) {
	tests := []struct{ schema, want string }{
		{``, "unexpected EOF"},
		{`{"type":"null"} 1`, "more text"},
		{`{"a":1,"a":2}`, `"a" appears twice`},
		{`1`, "at #: a schema must be an object or a boolean, not number"},
		{`{"type":"strin"}`, "type must be"},
		{`{"type":[]}`, "empty array"},
		{`{"properties":{"a":{"properties":{"b":{"not":{}}}}}}`, `at #/properties/a/properties/b: keyword "not" is not supported`},
		{`{"patternProperties":{}}`, `keyword "patternProperties"`},
		{`{"uniqueItems":true}`, `keyword "uniqueItems"`},
		{`{"multipleOf":2}`, `keyword "multipleOf"`},
		{`{"if":{},"then":{}}`, `keyword "if"`},
		{`{"minProperties":1}`, `keyword "minProperties"`},
		{`{"$ref":"other.json"}`, `$ref "other.json" is not supported`},
		{`{"$ref":"#/$defs/x"}`, `names nothing`},
		{`{"$ref":1}`, `$ref must be a string`},
		{`{"$ref":"#"}`, `left recursion`},
		{`{"$ref":"#","type":"object"}`, `deep into each other`},
		{`{"allOf":[{"$ref":"#"},{"$ref":"#"}]}`, `each other`},
		{`{"anyOf":[{"$ref":"#"},{"type":"null"}]}`, `left recursion`},
		{`{"type":"object","properties":{"a":{"$ref":"#"}},"required":["a"]}`, `no text matches`},
		{`{"anyOf":[]}`, "at least one schema"},
		{`{"anyOf":{}}`, "at least one schema"},
		{`{"enum":[]}`, "at least one value"},
		{`{"required":"a"}`, "required must be"},
		{`{"required":[1]}`, "required must be"},
		{`{"properties":[]}`, "properties must be"},
		{`{"minLength":-1}`, "want an integer"},
		{`{"minLength":1.5}`, "want an integer"},
		{`{"maxItems":99999999999999999999}`, "want an integer"},
		{`{"maxItems":"3"}`, "must be a number"},
		{`{"minimum":1e999}`, "exponent"},
		{`{"minimum":` + strings.Repeat("1", 100) + `}`, "digits"},
		{`{"exclusiveMinimum":true,"minimum":1}`, "draft 4"},
		{`{"pattern":"(?=a)b"}`, "lookahead"},
		{`{"pattern":"a\\b"}`, `\b and \B`},
		{`{"pattern":"a^b"}`, "only at the ends"},
		{`{"pattern":"("}`, "missing closing"},
		{`{"pattern":"^(ab)+$","maxLength":5}`, "write the length into the pattern"},
		{`{"allOf":[{"pattern":"a"},{"pattern":"b"}]}`, "more than one pattern"},
		{`{"format":"color"}`, `format "color"`},
		{`{"type":"integer","minimum":3,"maximum":2}`, "no text matches"},
		{`{"type":"string","minLength":3,"maxLength":2}`, "no text matches"},
		{`{"type":"array","minItems":3,"maxItems":2}`, "no text matches"},
		{`{"allOf":[{"type":"string"},{"type":"null"}]}`, "no text matches"},
		{`{"allOf":[{"enum":[1]},{"enum":[2]}]}`, "no text matches"},
		{`{"properties":{"a":false},"required":["a"]}`, "no text matches"},
		{`{"required":["a"],"additionalProperties":false}`, "no text matches"},
		{`false`, "no text matches"},
		{`{"const":{"a":1},"properties":{}}`, ""},
		{`{"const":{"a":1},"required":["b"]}`, "beside enum or const"},
		{`{"const":[1],"minItems":2}`, "beside enum or const"},
		{strings.Repeat(`{"items":`, 200) + `true` + strings.Repeat(`}`, 200), "nested more than"},
		{`{"prefixItems":{}}`, "prefixItems must be"},
		{`{"allOf":[{"items":{"type":"null"}},{"items":{"type":"integer"}}]}`, "items in two parts"},
	}
	for _, tt := range tests {
		_, err := grammar.FromJSONSchema([]byte(tt.schema))
		if tt.want == "" {
			if err != nil {
				t.Errorf("%.80s: error %v", tt.schema, err)
			}
			continue
		}
		if err == nil || !errors.Is(err, grammar.ErrSchema) || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%.80s: error %v, want %q", tt.schema, err, tt.want)
		}
	}
}

// TestSchemaBounds compares number ranges with big ones by trying numbers.
func TestSchemaBounds(t *testing.T) {
	bounds := []float64{-120.5, -100, -10, -1, -0.25, 0, 0.125, 0.5, 1, 9, 10, 11.75, 99, 100, 101, 250}
	for _, lo := range bounds {
		for _, hi := range bounds {
			if lo > hi {
				continue
			}
			for open := range 4 {
				low, high := "minimum", "maximum"
				if open&1 != 0 {
					low = "exclusiveMinimum"
				}
				if open&2 != 0 {
					high = "exclusiveMaximum"
				}
				for _, typ := range []string{"integer", "number"} {
					g, err := grammar.FromJSONSchema(fmt.Appendf(nil, `{"type":%q,%q:%v,%q:%v}`, typ, low, lo, high, hi))
					if err != nil {
						continue // an empty range
					}
					for x := math.Floor(lo) - 1; x <= math.Ceil(hi)+1; x += 0.0625 {
						if typ == "integer" && x != math.Trunc(x) {
							continue
						}
						if hi-lo > 20 && x > lo+2 && x < hi-2 && math.Mod(x, 7.25) != 0 {
							continue // not every number of a large range
						}
						want := (x > lo || (x == lo && open&1 == 0)) && (x < hi || (x == hi && open&2 == 0))
						text, _ := json.Marshal(x)
						if x == 0 {
							text = []byte("0")
						}
						if got, _ := fits(t, g, string(text)); got != want {
							t.Fatalf("%s %s %v %s %v: %s accepted: %t", typ, low, lo, high, hi, text, got)
						}
					}
				}
			}
		}
	}
}

// TestJSONMarshal checks that what encoding/json writes fits, compact and
// indented.
func TestJSONMarshal(t *testing.T) {
	type inner struct {
		Name  string    `json:"name"`
		Score float64   `json:"score"`
		Tags  []string  `json:"tags"`
		When  time.Time `json:"when"`
	}
	type outer struct {
		ID    int64          `json:"id"`
		Inner *inner         `json:"inner"`
		Flag  bool           `json:"flag,omitempty"`
		Map   map[string]int `json:"map"`
		Any   any            `json:"any"`
	}
	schema := `{"type":"object","required":["id","inner","map","any"],"properties":{
		"id":{"type":"integer"},
		"inner":{"anyOf":[{"type":"null"},{"type":"object","required":["name","score","tags","when"],"properties":{
			"name":{"type":"string","maxLength":40},"score":{"type":"number"},
			"tags":{"anyOf":[{"type":"null"},{"type":"array","items":{"type":"string"}}]},
			"when":{"type":"string","format":"date-time"}}}]},
		"flag":{"type":"boolean"},
		"map":{"type":["object","null"],"additionalProperties":{"type":"integer"}},
		"any":{}}}`
	g, err := grammar.FromJSONSchema([]byte(schema))
	if err != nil {
		t.Fatal(err)
	}
	when := time.Date(2024, 2, 29, 23, 59, 59, 123456789, time.FixedZone("", -5*3600))
	for _, v := range []outer{
		{},
		{ID: math.MinInt64, Flag: true, Inner: &inner{Name: "<>&\u2028 \" \\ \x00 \x7f 😀", Score: 5e-324, When: when}},
		{ID: 1, Inner: &inner{Score: -1.7976931348623157e307, Tags: []string{"", "a\tb"}, When: when.UTC()}, Map: map[string]int{"": 1, "<b>": -2}, Any: []any{nil, map[string]any{"x": 1e21, "y": 1e-7, "z": 123456789.125}}},
		{Inner: &inner{Score: 1.2345678901234567e-6, When: when}, Any: "\ufffd"},
	} {
		compact, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		indented, err := json.MarshalIndent(v, "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		for _, text := range [][]byte{compact, indented} {
			if whole, _ := fits(t, g, string(text)); !whole {
				t.Errorf("refused: %s", text)
			}
		}
	}
}

func FuzzSchema(f *testing.F) {
	for _, s := range []string{
		`{"type":"object","properties":{"a":{"type":"string","maxLength":5},"b":{"$ref":"#"}},"required":["b"]}`,
		`{"enum":["a",1,{"b":[null]}]}`, `{"allOf":[{"type":"integer","minimum":-3},{"maximum":1e2}]}`,
		`{"anyOf":[{"$ref":"#/$defs/x"},{"type":"array","items":{"$ref":"#"},"minItems":2}],"$defs":{"x":{"pattern":"^a+[^b]?$"}}}`,
		`{"prefixItems":[{"format":"date"},{"type":["number","null"],"exclusiveMinimum":0.5}],"items":false}`,
		`{"properties":{"ab":{},"b":{}},"additionalProperties":{"type":"boolean"}}`, `true`, `{"$ref":"#"}`,
	} {
		f.Add(s, `{"a":1}`)
	}
	v, err := grammar.NewVocabulary([][]byte{[]byte(`{"`), []byte(`":`), []byte("ab"), []byte("1"), []byte("}"), []byte(", "), []byte("\xc3"), nil}, []int32{7})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, schema, text string) {
		if len(schema) > 2000 || len(text) > 100 {
			t.Skip("long inputs only slow the search down")
		}
		g, err := grammar.FromJSONSchema([]byte(schema))
		if err != nil {
			if !errors.Is(err, grammar.ErrSchema) {
				t.Fatalf("error %v is not marked", err)
			}
			return
		}
		if whole, _ := fits(t, g, text); whole && !json.Valid([]byte(text)) {
			t.Fatalf("%q is accepted but is not JSON", text)
		}
		checkMasks(t, g, v, text)
	})
}
