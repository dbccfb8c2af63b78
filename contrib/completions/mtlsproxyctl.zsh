#compdef mtlsproxyctl
# Completion of mtlsproxyctl for zsh.
_mtlsproxyctl() {
    local -a candidates
    candidates=("${(@f)$(mtlsproxyctl complete-words "${(@)words[2,CURRENT]}" 2>/dev/null)}")
    if [[ -n "${candidates[1]}" ]]; then
        compadd -a candidates
    else
        _files
    fi
}
if [[ "${funcstack[1]}" == "_mtlsproxyctl" ]]; then
    _mtlsproxyctl "$@"
else
    compdef _mtlsproxyctl mtlsproxyctl
fi
