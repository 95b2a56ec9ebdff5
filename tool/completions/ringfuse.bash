# Completion of ringfuse(1) for bash, with the package bash-completion.
_ringfuse() {
    local cur=${COMP_WORDS[COMP_CWORD]} command=${COMP_WORDS[1]} i
    if [ "$COMP_CWORD" = 1 ]; then
        mapfile -t COMPREPLY < <(compgen -W 'run doctor status top --help --version' -- "$cur")
        return
    fi
    if [ "${COMP_WORDS[COMP_CWORD - 1]}" = --libdir ]; then
        mapfile -t COMPREPLY < <(compgen -d -- "$cur")
        return
    fi
    case $command in
    run)
        # What follows the program is completed as the program's own.
        for ((i = 2; i <= COMP_CWORD; i++)); do
            case ${COMP_WORDS[i]} in
            --libdir) ((i++)) ;;
            -*) ;;
            *) break ;;
            esac
        done
        if [ "$i" -le "$COMP_CWORD" ] && declare -F _command_offset >/dev/null; then
            _command_offset "$i"
        elif [[ $cur = -* ]]; then
            mapfile -t COMPREPLY < <(compgen -W '--libdir --anyway --help' -- "$cur")
        else
            mapfile -t COMPREPLY < <(compgen -c -- "$cur")
        fi
        ;;
    doctor) mapfile -t COMPREPLY < <(compgen -W '--json --libdir --help' -- "$cur") ;;
    status) mapfile -t COMPREPLY < <(compgen -W '--json --help' -- "$cur") ;;
    top)
        case ${COMP_WORDS[COMP_CWORD - 1]} in
        -d | --delay | -n | --count) return ;;
        esac
        if [[ $cur = -* ]]; then
            mapfile -t COMPREPLY < <(compgen -W '--delay --count --queues --batch --help' -- "$cur")
        else
            mapfile -t COMPREPLY < <(compgen -d -- "$cur")
        fi
        ;;
    esac
}
complete -o filenames -F _ringfuse ringfuse
