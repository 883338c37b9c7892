#!/bin/sh
# Tells a chat room that a person has to log in: for on_authorization_required in bearerd.conf(5).
#
#   on_authorization_required = /etc/bearerd/notify.sh /etc/bearerd/webhook
#
# The file holds the address of a webhook of Feishu, Lark, DingTalk, WeCom, Slack or Mattermost. Whoever knows it can write
# there: let only the daemon's user read it (chown bearerd, chmod 600). It stands in no argument list. If the room only takes
# messages with a certain word in them, "bearerd" is one.
set -eu
url=$(cat "$1")
who=$BEARERD_CREDENTIAL${BEARERD_SUBJECT:+ ($BEARERD_SUBJECT)}
text=$(printf 'bearerd on %s, %s: %s' "$(uname -n)" "$who" "$BEARERD_REASON" | tr '\000-\037' ' ' | sed 's/[\\"]/\\&/g')
case $url in
*/open-apis/bot/*) form='{"msg_type":"text","content":{"text":"%s"}}' ;;                    # Feishu, Lark
*/robot/send\?* | */cgi-bin/webhook/*) form='{"msgtype":"text","text":{"content":"%s"}}' ;; # DingTalk, WeCom
*) form='{"text":"%s"}' ;;                                                                  # Slack, Mattermost
esac
# shellcheck disable=SC2059
answer=$(printf 'url = "%s"\n' "$url" |
        curl --silent --show-error --fail --max-time 15 --retry 2 --config - \
                --header 'Content-Type: application/json' --data-binary "$(printf "$form" "$text")")
# some say what is wrong with 200
if printf %s "$answer" | grep -Eq '"(code|errcode)": *[1-9]'; then
        printf 'the webhook refuses: %s\n' "$answer" >&2
        exit 1
fi
