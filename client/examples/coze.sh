#!/bin/sh
# Calls Coze's API with a token of bearerd. If the API refuses the token, has it renewed and tries
# once more.
#
#   coze.sh CREDENTIAL PATH [CURL-OPTION...]
#   coze.sh bot /v1/workspaces
set -eu
credential=$1 path=$2
shift 2
body=$(mktemp)
trap 'rm -f "$body"' EXIT

# Sets COZE_API_TOKEN and COZE_API_BASE, for this shell only: no child sees what is not exported.
unset COZE_API_TOKEN COZE_API_BASE
token() {
        variables=$(bearerctl get "$credential" --env "$@")
        eval "$variables"
}

# The header goes by standard input, so that the token stands in no argument list.
call() {
        printf 'Authorization: Bearer %s\n' "$COZE_API_TOKEN" |
                curl --silent --show-error --output "$body" --write-out '%{http_code}' \
                        --header @- "$@" "$COZE_API_BASE$path"
}

token
status=$(call "$@")
if [ "$status" = 401 ]; then
        token --rejected "$(printf %s "$COZE_API_TOKEN" | sha256sum | cut -c 1-16)"
        status=$(call "$@")
fi
cat "$body"
[ "$status" -lt 400 ]
