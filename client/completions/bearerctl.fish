# fish completion of bearerctl(1). What there is to complete, bearerctl itself says: verbs and options by its help, names by
# "bearerctl list", which shows only what you may use.

function __bearerctl_verbs
    bearerctl --help | string replace -rf '^  ([a-z]+) .*?  +(.+)$' '$1\t$2' | string match -v 'bearerctl*'
end

function __bearerctl
    set -l words (commandline -opc)
    set -l word (commandline -ct)
    set -l before $words[-1]
    set -l ask timeout 2 bearerctl
    set -l verb
    set -l valued
    set -l operands 0
    set -l skip no

    set -e words[1]
    for i in (seq (count $words))
        set -l w $words[$i]
        if test $skip != no
            test $skip = --socket; and set ask timeout 2 bearerctl --socket $w
            set skip no
        else if test "$w" = --
            set operands 1 # the command of exec comes next
            break
        else if test "$w" = --socket; or contains -- $w $valued
            set skip $w
        else if string match -q -- '-*' $w
            continue
        else if set -q verb[1]
            set operands (math $operands + 1)
        else
            set verb $w
            set valued (bearerctl help $verb 2>/dev/null | string replace -rf '^  (--[a-z-]+) [A-Z]+ .*' '$1')
        end
    end

    if test $skip = --socket
        __fish_complete_path $word
    else if test $skip = --cancel
        $ask authorizations 2>/dev/null | string replace -rf '^(\S+) .*' '$1' | tail -n +2
    else if test $skip != no
        return # you know
    else if not set -q verb[1]
        if string match -q -- '-*' $word
            printf '%s\n' --socket --help --version
        else
            __bearerctl_verbs
        end
    else if test $verb = exec -a $operands -gt 0
        __fish_complete_command
    else if string match -q -- '-*' $word
        bearerctl help $verb 2>/dev/null | string replace -rf '^  (--[a-z-]+).*?  +(.+)$' '$1\t$2'
    else if test $operands -gt 0
        return # one is enough
    else if test $verb = help
        __bearerctl_verbs
    else if contains $verb check rekey
        __fish_complete_path $word
    else if bearerctl help $verb 2>/dev/null | head -n 1 | string match -q '*NAME*'
        $ask list 2>/dev/null
    end
end

complete -c bearerctl -f -a '(__bearerctl)'
