# bash completion of bearerctl(1). What there is to complete, bearerctl itself says: verbs and options by its help, names by
# "bearerctl list", which shows only what you may use.

_bearerctl() {
        local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]} verb= operands=0 i valued
        local -a ask=(timeout 2 bearerctl)

        COMPREPLY=()
        for ((i = 1; i < COMP_CWORD; i++)); do
                case ${COMP_WORDS[i]} in
                --)
                        operands=1 # the command of exec comes next
                        break
                        ;;
                --socket)
                        ((i + 1 < COMP_CWORD)) && ask=(timeout 2 bearerctl --socket "${COMP_WORDS[i + 1]}")
                        ((i++))
                        ;;
                -*) [[ " $valued " != *" ${COMP_WORDS[i]} "* ]] || ((i++)) ;;
                *)
                        if [ -n "$verb" ]; then
                                ((operands++))
                        else
                                verb=${COMP_WORDS[i]}
                                valued=$(bearerctl help "$verb" 2>/dev/null |
                                        sed -n 's/^  \(--[a-z-]*\) [A-Z][A-Z]* .*/\1/p' | tr '\n' ' ')
                        fi
                        ;;
                esac
        done
        if [ "$before" = --socket ]; then
                COMPREPLY=($(compgen -f -- "$word"))
        elif [ -z "$verb" ]; then
                COMPREPLY=($(compgen -W "--socket --help --version $(bearerctl --help | sed -n 's/^  \([a-z]*\) .*/\1/p' |
                        grep -vx bearerctl)" -- "$word"))
        elif [ "$before" = --cancel ]; then
                COMPREPLY=($(compgen -W "$("${ask[@]}" authorizations 2>/dev/null | sed '1d; s/ .*//')" -- "$word"))
        elif [[ " $valued " == *" $before "* ]]; then
                : # you know
        elif [ "$verb" = exec ] && ((operands > 0)); then
                COMPREPLY=($(compgen -c -- "$word"))
        elif [[ $word == -* ]]; then
                COMPREPLY=($(compgen -W "$(bearerctl help "$verb" 2>/dev/null | sed -n 's/^  \(--[a-z-]*\).*/\1/p')" -- "$word"))
        elif ((operands > 0)); then
                : # one is enough
        elif [ "$verb" = help ]; then
                COMPREPLY=($(compgen -W "$(bearerctl --help | sed -n 's/^  \([a-z]*\) .*/\1/p' | grep -vx bearerctl)" -- "$word"))
        elif [ "$verb" = check ] || [ "$verb" = rekey ]; then
                COMPREPLY=($(compgen -f -- "$word"))
        elif bearerctl help "$verb" 2>/dev/null | head -n 1 | grep -q NAME; then
                COMPREPLY=($(compgen -W "$("${ask[@]}" list 2>/dev/null)" -- "$word"))
        fi
}
complete -F _bearerctl bearerctl
