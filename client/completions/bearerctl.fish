# fish completion of bearerctl(1). What there is to complete, bearerctl itself says: verbs and options by its help, names by
# "bearerctl list", which shows only what you may use.

function __bearerctl_verbs
    bearerctl --help | string replace -rf '^  ([a-z]+) .*?  +(.+)$' '$1\t$2' | string match -v 'bearerctl*'
end

function __bearerctl_options
    set -l words (commandline -opc)
    bearerctl help $words[2] 2>/dev/null | string replace -rf '^  (--[a-z-]+).*?  +(.+)$' '$1\t$2'
end

complete -c bearerctl -f
complete -c bearerctl -n __fish_use_subcommand -a '(__bearerctl_verbs)'
complete -c bearerctl -n 'not __fish_use_subcommand; and string match -q -- "-*" (commandline -ct)' -a '(__bearerctl_options)'
complete -c bearerctl -n '__fish_seen_subcommand_from help' -a '(__bearerctl_verbs)'
complete -c bearerctl -n '__fish_seen_subcommand_from check rekey' -F
complete -c bearerctl -n 'not __fish_use_subcommand; and not __fish_seen_subcommand_from help check rekey health list' -a '(bearerctl list 2>/dev/null)'
