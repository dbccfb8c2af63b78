# Completion of mtlsproxyd for fish.
set -l some __fish_seen_subcommand_from
complete -c mtlsproxyd -f
complete -c mtlsproxyd -n "not $some run check demo version" -a run -d 'Run the daemon'
complete -c mtlsproxyd -n "not $some run check demo version" -a check -d 'Check the configuration'
complete -c mtlsproxyd -n "not $some run check demo version" -a demo -d 'Show it all at work'
complete -c mtlsproxyd -n "not $some run check demo version" -a version -d 'Print the version'

complete -c mtlsproxyd -s h -l help -d 'Show help'
complete -c mtlsproxyd -l version -d 'Print the version'

complete -c mtlsproxyd -n "not $some demo version" -l config -rF -d 'Configuration file'
complete -c mtlsproxyd -n "not $some demo version" -l set -x -d 'Set one value'
complete -c mtlsproxyd -n "not $some demo version" -l listen -x -d 'Address for the applications'
complete -c mtlsproxyd -n "not $some demo version" -l upstream -x -d 'Where requests go'
complete -c mtlsproxyd -n "not $some demo version" -l cert -rF -d 'Client certificate in PEM'
complete -c mtlsproxyd -n "not $some demo version" -l key -rF -d 'Its private key in PEM'
complete -c mtlsproxyd -n "not $some demo version" -l ca -rF -a system -d 'Trust anchors in PEM, or system'
complete -c mtlsproxyd -n "not $some demo version" -l server-name -x -d 'Name that the certificate of the upstream must carry'
complete -c mtlsproxyd -n "not $some check demo version" -l log-level -x -a 'debug info warn error' -d 'Least severe events that are logged'
complete -c mtlsproxyd -n "not $some check demo version" -l idle-exit -x -d 'End after so long without a client connection'
complete -c mtlsproxyd -n "$some check" -l json -d 'Print JSON'
complete -c mtlsproxyd -n "$some demo" -l once -d 'End after the steps'
complete -c mtlsproxyd -n "$some demo" -l listen -x -d 'Address the daemon listens on'
