#!/bin/sh
# Makes, once, a key for each of the four nodes, the genesis that names them, and
# the script that starts a node. SHARED is a folder that all see; the folders of
# the nodes are beside it, under the names by which they reach one another.
set -eu
shared=${SHARED:-/shared}
nodes=${NODES:-one two three four}
root=${ROOT:-}
port=26656
[ -f "$shared/start.sh" ] && exit 0
validators=
peers=
for name in $nodes; do
  key=$(AVAL_KEY=$root/$name/node.key aval key)
  validators="$validators --validator $key"
  peers="$peers --ledger-peer $key@$name:$port"
done
# shellcheck disable=SC2086 # the flags are words
aval ledger new compose $validators >"$shared/genesis.json"
echo "exec aval up --genesis $shared/genesis.json --ledger-listen 0.0.0.0:$port --admin 0.0.0.0:9600$peers" >"$shared/start.tmp"
mv "$shared/start.tmp" "$shared/start.sh"
