# Completion of ringfuse(1) for fish.
set -l commands run doctor status top
complete -c ringfuse -f
complete -c ringfuse -n "not __fish_seen_subcommand_from $commands" -a run -d 'Run a program on ringfuse'
complete -c ringfuse -n "not __fish_seen_subcommand_from $commands" -a doctor -d 'Say what a mount made now would use'
complete -c ringfuse -n "not __fish_seen_subcommand_from $commands" -a status -d 'List the mounts of ringfuse'
complete -c ringfuse -n "not __fish_seen_subcommand_from $commands" -a top -d 'Show what the mounts of ringfuse do'
complete -c ringfuse -n "not __fish_seen_subcommand_from $commands" -s h -l help -d 'Help'
complete -c ringfuse -n "not __fish_seen_subcommand_from $commands" -s V -l version -d 'The version'
complete -c ringfuse -n '__fish_seen_subcommand_from run' -l anyway -d 'Also if it does not need libfuse3 itself'
complete -c ringfuse -n '__fish_seen_subcommand_from run' -xa '(__fish_complete_subcommand --fcs-skip=2)'
complete -c ringfuse -n '__fish_seen_subcommand_from run doctor' -l libdir -xa '(__fish_complete_directories)' -d 'Where the libraries are'
complete -c ringfuse -n '__fish_seen_subcommand_from doctor status' -l json -d 'For programs to read'
complete -c ringfuse -n '__fish_seen_subcommand_from top' -s d -l delay -x -d 'Seconds between two looks'
complete -c ringfuse -n '__fish_seen_subcommand_from top' -s n -l count -x -d 'End after that many reports'
complete -c ringfuse -n '__fish_seen_subcommand_from top' -s u -l queues -d 'A line for each queue'
complete -c ringfuse -n '__fish_seen_subcommand_from top' -s b -l batch -d 'One report after the other'
complete -c ringfuse -n '__fish_seen_subcommand_from top' -a '(__fish_complete_directories)'
