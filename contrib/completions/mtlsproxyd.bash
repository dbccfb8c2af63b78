# Completion of mtlsproxyd for bash.
_mtlsproxyd() {
    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]} command='' word words
    # Bash takes --flag=value apart at the equals sign.
    if [[ $cur == = ]]; then
        cur=''
    elif [[ $prev == = ]]; then
        prev=${COMP_WORDS[COMP_CWORD - 2]}
    fi
    for word in "${COMP_WORDS[@]:1:COMP_CWORD - 1}"; do
        case $word in
            run | check | demo | version)
                command=$word
                break
                ;;
        esac
    done
    case $prev in
        --config | --cert | --key | --ca) return ;; # the name of a file
        --log-level) words='debug info warn error' ;;
        --set | --listen | --upstream | --server-name)
            compopt +o default 2>/dev/null
            return
            ;;
        *)
            words='--help --version'
            case $command in
                '' | run) words+=' --config --set --listen --upstream --cert --key --ca --server-name --log-level --idle-exit' ;;
                check) words+=' --config --set --listen --upstream --cert --key --ca --server-name --json' ;;
                demo) words+=' --once --listen' ;;
            esac
            if [[ $cur != -* ]]; then
                words=''
                [[ -n $command ]] || words='run check demo version'
            fi
            ;;
    esac
    mapfile -t COMPREPLY < <(compgen -W "$words" -- "$cur")
}
complete -o default -F _mtlsproxyd mtlsproxyd
