# Completion of mtlsproxyctl for bash.
_mtlsproxyctl() {
    mapfile -t COMPREPLY < <(mtlsproxyctl complete-words "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
}
complete -o default -F _mtlsproxyctl mtlsproxyctl
