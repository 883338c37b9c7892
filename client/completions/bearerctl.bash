# bash completion of bearerctl(1). What there is to complete, bearerctl itself says: verbs and options by its help, names by
# "bearerctl list", which shows only what you may use.

_bearerctl() {
        local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]} verb= i

        for ((i = 1; i < COMP_CWORD; i++)); do
                case ${COMP_WORDS[i]} in
                --)
                        COMPREPLY=($(compgen -c -- "$word")) # the command of exec
                        return
                        ;;
                --socket) ((i++)) ;;
                -*) ;;
                *)
                        verb=${COMP_WORDS[i]}
                        break
                        ;;
                esac
        done
        for ((; i < COMP_CWORD; i++)); do
                [ "${COMP_WORDS[i]}" != -- ] || {
                        COMPREPLY=($(compgen -c -- "$word"))
                        return
                }
        done
        case $before in
        --socket)
                COMPREPLY=($(compgen -f -- "$word"))
                return
                ;;
        esac
        if [ -z "$verb" ]; then
                COMPREPLY=($(compgen -W "--socket --help --version $(bearerctl --help | sed -n 's/^  \([a-z]*\) .*/\1/p' |
                        grep -vx bearerctl)" -- "$word"))
        elif [[ $word == -* ]]; then
                COMPREPLY=($(compgen -W "$(bearerctl help "$verb" 2>/dev/null | sed -n 's/^  \(--[a-z-]*\).*/\1/p')" -- "$word"))
        elif [ "$verb" = help ]; then
                COMPREPLY=($(compgen -W "$(bearerctl --help | sed -n 's/^  \([a-z]*\) .*/\1/p' | grep -vx bearerctl)" -- "$word"))
        elif [ "$verb" = check ] || [ "$verb" = rekey ]; then
                COMPREPLY=($(compgen -f -- "$word"))
        else
                COMPREPLY=($(compgen -W "$(bearerctl list 2>/dev/null)" -- "$word"))
        fi
}
complete -F _bearerctl bearerctl
