#compdef mtlsproxyd
# Completion of mtlsproxyd for zsh.
_mtlsproxyd() {
    local -a common source
    common=(
        '(- *)'{-h,--help}'[show help]'
        '(- *)--version[print the version]'
    )
    source=(
        '--config=[configuration file]:file:_files -g "*.toml"'
        '*--set=[set one value]:key=value: '
        '*--listen=[address for the applications]:address: '
        '--upstream=[where requests go]:URL: '
        '--cert=[client certificate in PEM]:file:_files'
        '--key=[its private key in PEM]:file:_files'
        '--ca=[trust anchors in PEM, or system]:file:_files'
        '--server-name=[name that the certificate of the upstream must carry]:name: '
    )
    case ${words[(r)(run|check|demo|version)]} in
        check) _arguments $common $source '--json[print JSON]' '1:command: ' ;;
        demo)
            _arguments $common '--once[end after the steps]' \
                '--listen=[address the daemon listens on]:address: ' '1:command: '
            ;;
        version) _arguments $common '1:command: ' ;;
        *)
            _arguments $common $source \
                '--log-level=[least severe events that are logged]:level:(debug info warn error)' \
                '--idle-exit=[end after so long without a client connection]:duration:' \
                '1:command:((run\:"run the daemon" check\:"check the configuration" demo\:"show it all at work" version\:"print the version"))'
            ;;
    esac
}
if [[ "${funcstack[1]}" == "_mtlsproxyd" ]]; then
    _mtlsproxyd "$@"
else
    compdef _mtlsproxyd mtlsproxyd
fi
