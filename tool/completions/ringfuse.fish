# Completion of ringfuse(1) for fish.
set -l commands run doctor status
complete -c ringfuse -f
complete -c ringfuse -n "not __fish_seen_subcommand_from $commands" -a run -d 'Run a program on ringfuse'
complete -c ringfuse -n "not __fish_seen_subcommand_from $commands" -a doctor -d 'Say what a mount made now would use'
complete -c ringfuse -n "not __fish_seen_subcommand_from $commands" -a status -d 'List the mounts of ringfuse'
complete -c ringfuse -n "not __fish_seen_subcommand_from $commands" -s h -l help -d 'Help'
complete -c ringfuse -n "not __fish_seen_subcommand_from $commands" -s V -l version -d 'The version'
complete -c ringfuse -n '__fish_seen_subcommand_from run' -l anyway -d 'Also if it does not need libfuse3 itself'
complete -c ringfuse -n '__fish_seen_subcommand_from run' -xa '(__fish_complete_subcommand --fcs-skip=2)'
complete -c ringfuse -n '__fish_seen_subcommand_from run doctor' -l libdir -xa '(__fish_complete_directories)' -d 'Where the libraries are'
complete -c ringfuse -n '__fish_seen_subcommand_from doctor status' -l json -d 'For programs to read'
