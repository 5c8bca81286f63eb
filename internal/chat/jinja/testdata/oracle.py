# Renders templates with Python's jinja2, set up as Hugging Face transformers
# does. Reads one JSON object a line, {"template": ..., "vars": {...}, "now":
# "2024-07-26T00:00:00"}, and answers with {"output": ...} or {"error": ...}.
import json
import sys
from datetime import datetime

import jinja2
from jinja2 import nodes
from jinja2.ext import Extension
from jinja2.sandbox import ImmutableSandboxedEnvironment


class Generation(Extension):
    tags = {"generation"}

    def parse(self, parser):
        line = next(parser.stream).lineno
        body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
        call = self.call_method("_body")
        return nodes.CallBlock(call, [], [], body).set_lineno(line)

    def _body(self, caller):
        return caller()


def raise_exception(message):
    raise jinja2.exceptions.TemplateError(message)


def tojson(x, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
    return json.dumps(x, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


env = ImmutableSandboxedEnvironment(
    trim_blocks=True, lstrip_blocks=True, extensions=[Generation, "jinja2.ext.loopcontrols"]
)
env.filters["tojson"] = tojson
env.globals["raise_exception"] = raise_exception
compiled = {}


def render(case):
    now = datetime.fromisoformat(case.get("now") or "2024-07-26T00:00:00")
    env.globals["strftime_now"] = lambda fmt: now.strftime(fmt)
    source = case["template"]
    if source not in compiled:
        compiled[source] = env.from_string(source)
    return compiled[source].render(**case["vars"])


for line in sys.stdin.buffer:
    try:
        out = {"output": render(json.loads(line))}
        out["output"].encode("utf-8")
    except Exception as e:
        out = {"error": type(e).__name__ + ": " + str(e)}
    sys.stdout.write(json.dumps(out) + "\n")
    sys.stdout.flush()
