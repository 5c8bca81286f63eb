#!/bin/sh
# Trains the model that is built into aval, from two books in the public domain:
#
#   models/mini/train.sh TEXTS WORK
#
# TEXTS holds war-and-peace.txt and tinyshakespeare.txt (README.md says which),
# WORK is a new folder. The result is WORK/run/model.gguf, the same bytes on
# every machine. After an interruption "aval train lm --resume -o WORK/run" goes
# on. aval must be in the PATH.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
texts=$(cd "$1" && pwd)
mkdir "$2"
cd "$2"

# The lines of a paragraph of prose are joined; those of plays stay.
sed '$ s/0$//' "$texts/war-and-peace.txt" |
	awk 'BEGIN { RS = "" } { $1 = $1; printf "%s%s\n", sep, $0; sep = "\n" }' >prose.txt
cp "$texts/tinyshakespeare.txt" plays.txt

aval train tokenizer --size 2048 --pre llama-bpe --name aval-mini -o tokenizer.gguf prose.txt plays.txt
aval train lm --config "$here/mini.yaml" -o run
