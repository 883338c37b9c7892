#!/bin/sh
# Fetches from Coze's API by wget, with a token of bearerd.
#
#   wget.sh CREDENTIAL URL [WGET-OPTION...]
#   wget.sh bot https://api.coze.cn/v1/workspaces
#
# Everybody can read the arguments of a program, so the token is no part of them: wget takes the header from a
# configuration. That must be a file, so it is one in memory, without a name by the time that the token is in it. No
# redirect is followed, since wget would send the token there, too.
set -eu
credential=$1 url=$2
shift 2
header=$(bearerctl get "$credential" --header)
config=$(mktemp "${XDG_RUNTIME_DIR:-/dev/shm}/wget.XXXXXX")
exec 3<>"$config"
rm "$config"
printf 'header = %s\n' "$header" >&3
exec wget --config=/dev/fd/3 --max-redirect=0 --quiet --output-document=- "$@" "$url"
