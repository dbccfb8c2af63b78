# Completion of mtlsproxyctl for fish.
function __mtlsproxyctl_words
    set -l words (commandline -opc) (commandline -ct)
    mtlsproxyctl complete-words $words[2..-1] 2>/dev/null
end
complete -c mtlsproxyctl -a '(__mtlsproxyctl_words)'
