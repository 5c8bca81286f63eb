// Package jinja renders the Jinja templates that language models carry for
// their chat format, byte for byte as Python's jinja2 does when set up the way
// the Hugging Face transformers library sets it up: the immutable sandbox,
// trim_blocks and lstrip_blocks on, the loopcontrols extension, generation
// blocks, the globals raise_exception and strftime_now, and a tojson filter
// that is json.dumps without escaping for HTML.
//
// Call [Parse] once and [Template.Render] for every conversation; build the
// variables with [NewDict], [ParseJSON] and [FromGo]. Mappings keep their order.
//
// The rendering is a function of its arguments: there is no clock (strftime_now
// formats [Options].Now), no locale, no environment, no file, no randomness,
// and a value whose Python text would hold a memory address cannot be printed.
// Where versions of Python and jinja2 differ, the reference is Debian 12's:
// jinja2 3.1.2 on Python 3.11.
// A template is untrusted input. It sees only the declared variables, cannot
// change them, and runs under the limits of limits.go; what exceeds them is an
// error that wraps [ErrLimit], never a panic or an endless loop.
//
// What it does not do: include, import, extends, autoescape, translations, the
// filters random, urlize, pprint, xmlattr, wordwrap and striptags, powers of
// floats, set operations on keys() and items(), methods that change a value
// (list.pop among them, which jinja2 3.1.2 still permits) and \N{...} escapes
// are errors.
//
// Why an own interpreter and not the Go library gonja (v2.9.1 was tried): it
// overflows the stack, which no caller can recover from, on a template of
// nested parentheses; it divides by zero on '%s' % x, runs loops and string
// repetition without limit, sorts mappings, prints none as nothing, adds text
// to undefined values, and refuses escapes such as \u00e9 and varargs in
// macros. Most of these sit in its parser and evaluator, out of reach of
// filters and wrappers registered from outside.
package jinja
