# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_mergerfs.xdedup_global_optspecs
    string join \n e/execute n/dry-run link= m/manifest= manifest-format= only= base= map= p/primary= any-master d/dedup= I/include= E/exclude= min-size= max-size= ignore-metadata= shadows= shadow-age= max-ops= max-bytes= max-time= pre= post= snapraid-guard= log-file= pool-root= branches= accept-branches no-lease cache= no-cache groups= groups-format= report= script= no-progress db-file= journal= format= color= config= v/verbose q/quiet h/help V/version
end

function __fish_mergerfs.xdedup_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_mergerfs.xdedup_global_optspecs) -- $cmd 2>/dev/null
    or argparse -s (__fish_mergerfs.xdedup_global_optspecs) -- $cmd value 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_mergerfs.xdedup_using_subcommand
    set -l cmd (__fish_mergerfs.xdedup_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c mergerfs.xdedup -n "__fish_mergerfs.xdedup_needs_command" -l link -d 'What duplicates become' -r -f -a "hard\t'hard links to the kept copy'
reflink\t'files of their own that share the blocks of the kept copy'
auto\t'such files where that is possible, otherwise hard links'"
complete -c mergerfs.xdedup -n "__fish_mergerfs.xdedup_needs_command" -s m -l manifest -d 'Read duplicates from another program\'s list' -r -F
complete -c mergerfs.xdedup -n "__fish_mergerfs.xdedup_needs_command" -l manifest-format -d 'The form of the list, if its contents do not show the form' -r
complete -c mergerfs.xdedup -n "__fish_mergerfs.xdedup_needs_command" -l only -d 'Replace only the file PATH, or the files below the directory PATH (repeatable)' -r -F
complete -c mergerfs.xdedup -n "__fish_mergerfs.xdedup_needs_command" -l base -d 'Where relative paths of the list begin [default: as the list says, otherwise the current directory]' -r -f -a "(__fish_complete_directories)"
complete -c mergerfs.xdedup -n "__fish_mergerfs.xdedup_needs_command" -l map -d 'Read paths below FROM, of the list or of --only, as paths below TO (repeatable)' -r
complete -c mergerfs.xdedup -n "__fish_mergerfs.xdedup_needs_command" -s p -l primary -d 'Keep the copy under DIR (repeatable; earlier ones win)' -r -f -a "(__fish_complete_directories)"
complete -c mergerfs.xdedup -n "__fish_mergerfs.xdedup_needs_command" -s d -l dedup -d 'Which copy to keep where -p does not decide' -r -f -a "newest\t'the copy changed last'
oldest\t'the copy changed first'
mostfreespace\t'the copy on the disk with the most free space'
leastfreespace\t'the copy on the disk with the least free space'
mostlinks\t'the copy with the most hard links'
mergerfs\t'the copy on the first branch'"
complete -c mergerfs.xdedup -n "__fish_mergerfs.xdedup_needs_command" -s I -l include -d 'Only files matching GLOB' -r
complete -c mergerfs.xdedup -n "__fish_mergerfs.xdedup_needs_command" -s E -l exclude -d 'Skip files and directories matching GLOB' -r
complete -c mergerfs.xdedup -n "__fish_mergerfs.xdedup_needs_command" -l min-size -d 'Only files of at least N bytes (K, M, G, T)' -r
complete -c mergerfs.xdedup -n "__fish_mergerfs.xdedup_needs_command" -l max-size -d 'Only files of at most N bytes (K, M, G, T)' -r
complete -c mergerfs.xdedup -n "__fish_mergerfs.xdedup_needs_command" -l ignore-metadata -d 'Link even if these differ; the kept copy\'s values then apply' -r -f -a "(__fish_append , owner mode acl xattr)"
complete -c mergerfs.xdedup -n "__fish_mergerfs.xdedup_needs_command" -l shadows -d 'Files whose path exists on several disks' -r -f -a "keep\t'skip them'
merge\t'remove hidden copies that equal the copy that the pool shows; undo does not bring them back'"
complete -c mergerfs.xdedup -n "__fish_mergerfs.xdedup_needs_command" -l shadow-age -d 'With --shadows merge: skip hidden copies younger than TIME [default: 1h]' -r
complete -c mergerfs.xdedup -n "__fish_mergerfs.xdedup_needs_command" -l max-ops -d 'Link at most N files, largest first' -r
complete -c mergerfs.xdedup -n "__fish_mergerfs.xdedup_needs_command" -l max-bytes -d 'Free at most N bytes (K, M, G, T), largest first' -r
complete -c mergerfs.xdedup -n "__fish_mergerfs.xdedup_needs_command" -l max-time -d 'Stop after TIME (such as 90s, 30m, 1h30m)' -r
complete -c mergerfs.xdedup -n "__fish_mergerfs.xdedup_needs_command" -l pre -d 'Run the shell command CMD before a run that changes something; if CMD fails, nothing is changed' -r
complete -c mergerfs.xdedup -n "__fish_mergerfs.xdedup_needs_command" -l post -d 'Run the shell command CMD after such a run, also if the run failed ($XDEDUP_EXIT has its exit status)' -r
complete -c mergerfs.xdedup -n "__fish_mergerfs.xdedup_needs_command" -l snapraid-guard -d 'Change nothing while snapraid diff finds differences (with SnapRAID\'s configuration CONF)' -r -F
complete -c mergerfs.xdedup -n "__fish_mergerfs.xdedup_needs_command" -l log-file -d 'Write the CSV log to FILE [default: log.csv beside the journal]' -r -F
complete -c mergerfs.xdedup -n "__fish_mergerfs.xdedup_needs_command" -l pool-root -d 'Stop unless every branch lies below DIR' -r -f -a "(__fish_complete_directories)"
complete -c mergerfs.xdedup -n "__fish_mergerfs.xdedup_needs_command" -l branches -d 'The pool\'s branches, if mergerfs cannot list them (A=RW:B=RO)' -r
complete -c mergerfs.xdedup -n "__fish_mergerfs.xdedup_needs_command" -l cache -d 'Keep the hashes of scans in DIR [default: /var/cache/mergerfs-xdedup, or $XDG_CACHE_HOME/mergerfs-xdedup]' -r -f -a "(__fish_complete_directories)"
complete -c mergerfs.xdedup -n "__fish_mergerfs.xdedup_needs_command" -l groups -d 'Write the duplicates that the scan found to FILE, for other programs' -r -F
complete -c mergerfs.xdedup -n "__fish_mergerfs.xdedup_needs_command" -l groups-format -d 'The form of --groups: fclones\' JSON can hold any name, jdupes\' only UTF-8' -r -f -a "fclones\t''
jdupes\t''"
complete -c mergerfs.xdedup -n "__fish_mergerfs.xdedup_needs_command" -l report -d 'Write a report to FILE, as one HTML page' -r -F
complete -c mergerfs.xdedup -n "__fish_mergerfs.xdedup_needs_command" -l script -d 'Write the plan of a dry run to FILE, as a shell script to read and to run by hand' -r -F
complete -c mergerfs.xdedup -n "__fish_mergerfs.xdedup_needs_command" -l db-file -d 'Accepted for the sake of old command lines, and not used' -r -F
complete -c mergerfs.xdedup -n "__fish_mergerfs.xdedup_needs_command" -l journal -d 'Keep the journal in DIR [default: /var/lib/mergerfs-xdedup, or $XDG_STATE_HOME/mergerfs-xdedup]' -r -f -a "(__fish_complete_directories)"
complete -c mergerfs.xdedup -n "__fish_mergerfs.xdedup_needs_command" -l format -d 'Print text, JSON lines, or the plan as a shell script' -r -f -a "text\t'For people'
json\t'One JSON object a line'
script\t'The plan of a dry run as a shell script'"
complete -c mergerfs.xdedup -n "__fish_mergerfs.xdedup_needs_command" -l color -d 'Use colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR or CLICOLOR=0 says not to'
always\t'Into pipes and files too'
never\t'Nowhere'"
complete -c mergerfs.xdedup -n "__fish_mergerfs.xdedup_needs_command" -l config -d 'Read options from FILE, one a line: long names without dashes, such as "primary = /pool/media" and "dir = /pool"' -r -F
complete -c mergerfs.xdedup -n "__fish_mergerfs.xdedup_needs_command" -s e -l execute -d 'Apply the changes (default: dry run)'
complete -c mergerfs.xdedup -n "__fish_mergerfs.xdedup_needs_command" -s n -l dry-run -d 'Change nothing, whatever a configuration file says'
complete -c mergerfs.xdedup -n "__fish_mergerfs.xdedup_needs_command" -l any-master -d 'Link duplicates that have no copy under -p, too'
complete -c mergerfs.xdedup -n "__fish_mergerfs.xdedup_needs_command" -l accept-branches -d 'Go on although a disk, the journal or the clock is not as it was in the last run'
complete -c mergerfs.xdedup -n "__fish_mergerfs.xdedup_needs_command" -l no-lease -d 'Work without leases, on filesystems that have none; only while nothing else uses the pool'
complete -c mergerfs.xdedup -n "__fish_mergerfs.xdedup_needs_command" -l no-cache -d 'Read every file again, and remember nothing'
complete -c mergerfs.xdedup -n "__fish_mergerfs.xdedup_needs_command" -l no-progress -d 'Draw no progress bar'
complete -c mergerfs.xdedup -n "__fish_mergerfs.xdedup_needs_command" -s v -l verbose -d 'List every file, and say more; repeat for more'
complete -c mergerfs.xdedup -n "__fish_mergerfs.xdedup_needs_command" -s q -l quiet -d 'Print only problems'
complete -c mergerfs.xdedup -n "__fish_mergerfs.xdedup_needs_command" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mergerfs.xdedup -n "__fish_mergerfs.xdedup_needs_command" -s V -l version -d 'Print version'
complete -c mergerfs.xdedup -n "__fish_mergerfs.xdedup_needs_command" -a "preview" -d 'Mount the result read-only, before anything is changed'
complete -c mergerfs.xdedup -n "__fish_mergerfs.xdedup_needs_command" -a "resume" -d 'Finish or put back what an interrupted run left open'
complete -c mergerfs.xdedup -n "__fish_mergerfs.xdedup_needs_command" -a "undo" -d 'Turn the links of a run back into separate copies'
complete -c mergerfs.xdedup -n "__fish_mergerfs.xdedup_needs_command" -a "verify" -d 'Re-read kept files and check their hashes'
complete -c mergerfs.xdedup -n "__fish_mergerfs.xdedup_needs_command" -a "status" -d 'Show open files, conflicts and the last run'
complete -c mergerfs.xdedup -n "__fish_mergerfs.xdedup_needs_command" -a "doctor" -d 'Check a pool for problems'
complete -c mergerfs.xdedup -n "__fish_mergerfs.xdedup_needs_command" -a "history" -d 'List all runs'
complete -c mergerfs.xdedup -n "__fish_mergerfs.xdedup_needs_command" -a "export" -d 'Print the journal, for programs'
complete -c mergerfs.xdedup -n "__fish_mergerfs.xdedup_needs_command" -a "completions" -d 'Print a completion script for a shell'
complete -c mergerfs.xdedup -n "__fish_mergerfs.xdedup_needs_command" -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c mergerfs.xdedup -n "__fish_mergerfs.xdedup_using_subcommand preview" -l link -d 'What duplicates become' -r -f -a "hard\t'hard links to the kept copy'
reflink\t'files of their own that share the blocks of the kept copy'
auto\t'such files where that is possible, otherwise hard links'"
complete -c mergerfs.xdedup -n "__fish_mergerfs.xdedup_using_subcommand preview" -s m -l manifest -d 'Read duplicates from another program\'s list' -r -F
complete -c mergerfs.xdedup -n "__fish_mergerfs.xdedup_using_subcommand preview" -l manifest-format -d 'The form of the list, if its contents do not show the form' -r
complete -c mergerfs.xdedup -n "__fish_mergerfs.xdedup_using_subcommand preview" -l only -d 'Replace only the file PATH, or the files below the directory PATH (repeatable)' -r -F
complete -c mergerfs.xdedup -n "__fish_mergerfs.xdedup_using_subcommand preview" -l base -d 'Where relative paths of the list begin [default: as the list says, otherwise the current directory]' -r -f -a "(__fish_complete_directories)"
complete -c mergerfs.xdedup -n "__fish_mergerfs.xdedup_using_subcommand preview" -l map -d 'Read paths below FROM, of the list or of --only, as paths below TO (repeatable)' -r
complete -c mergerfs.xdedup -n "__fish_mergerfs.xdedup_using_subcommand preview" -s p -l primary -d 'Keep the copy under DIR (repeatable; earlier ones win)' -r -f -a "(__fish_complete_directories)"
complete -c mergerfs.xdedup -n "__fish_mergerfs.xdedup_using_subcommand preview" -s d -l dedup -d 'Which copy to keep where -p does not decide' -r -f -a "newest\t'the copy changed last'
oldest\t'the copy changed first'
mostfreespace\t'the copy on the disk with the most free space'
leastfreespace\t'the copy on the disk with the least free space'
mostlinks\t'the copy with the most hard links'
mergerfs\t'the copy on the first branch'"
complete -c mergerfs.xdedup -n "__fish_mergerfs.xdedup_using_subcommand preview" -s I -l include -d 'Only files matching GLOB' -r
complete -c mergerfs.xdedup -n "__fish_mergerfs.xdedup_using_subcommand preview" -s E -l exclude -d 'Skip files and directories matching GLOB' -r
complete -c mergerfs.xdedup -n "__fish_mergerfs.xdedup_using_subcommand preview" -l min-size -d 'Only files of at least N bytes (K, M, G, T)' -r
complete -c mergerfs.xdedup -n "__fish_mergerfs.xdedup_using_subcommand preview" -l max-size -d 'Only files of at most N bytes (K, M, G, T)' -r
complete -c mergerfs.xdedup -n "__fish_mergerfs.xdedup_using_subcommand preview" -l ignore-metadata -d 'Link even if these differ; the kept copy\'s values then apply' -r -f -a "(__fish_append , owner mode acl xattr)"
complete -c mergerfs.xdedup -n "__fish_mergerfs.xdedup_using_subcommand preview" -l shadows -d 'Files whose path exists on several disks' -r -f -a "keep\t'skip them'
merge\t'remove hidden copies that equal the copy that the pool shows; undo does not bring them back'"
complete -c mergerfs.xdedup -n "__fish_mergerfs.xdedup_using_subcommand preview" -l shadow-age -d 'With --shadows merge: skip hidden copies younger than TIME [default: 1h]' -r
complete -c mergerfs.xdedup -n "__fish_mergerfs.xdedup_using_subcommand preview" -l max-ops -d 'Link at most N files, largest first' -r
complete -c mergerfs.xdedup -n "__fish_mergerfs.xdedup_using_subcommand preview" -l max-bytes -d 'Free at most N bytes (K, M, G, T), largest first' -r
complete -c mergerfs.xdedup -n "__fish_mergerfs.xdedup_using_subcommand preview" -l max-time -d 'Stop after TIME (such as 90s, 30m, 1h30m)' -r
complete -c mergerfs.xdedup -n "__fish_mergerfs.xdedup_using_subcommand preview" -l pre -d 'Run the shell command CMD before a run that changes something; if CMD fails, nothing is changed' -r
complete -c mergerfs.xdedup -n "__fish_mergerfs.xdedup_using_subcommand preview" -l post -d 'Run the shell command CMD after such a run, also if the run failed ($XDEDUP_EXIT has its exit status)' -r
complete -c mergerfs.xdedup -n "__fish_mergerfs.xdedup_using_subcommand preview" -l snapraid-guard -d 'Change nothing while snapraid diff finds differences (with SnapRAID\'s configuration CONF)' -r -F
complete -c mergerfs.xdedup -n "__fish_mergerfs.xdedup_using_subcommand preview" -l pool-root -d 'Stop unless every branch lies below DIR' -r -f -a "(__fish_complete_directories)"
complete -c mergerfs.xdedup -n "__fish_mergerfs.xdedup_using_subcommand preview" -l branches -d 'The pool\'s branches, if mergerfs cannot list them (A=RW:B=RO)' -r
complete -c mergerfs.xdedup -n "__fish_mergerfs.xdedup_using_subcommand preview" -l cache -d 'Keep the hashes of scans in DIR [default: /var/cache/mergerfs-xdedup, or $XDG_CACHE_HOME/mergerfs-xdedup]' -r -f -a "(__fish_complete_directories)"
complete -c mergerfs.xdedup -n "__fish_mergerfs.xdedup_using_subcommand preview" -l groups -d 'Write the duplicates that the scan found to FILE, for other programs' -r -F
complete -c mergerfs.xdedup -n "__fish_mergerfs.xdedup_using_subcommand preview" -l groups-format -d 'The form of --groups: fclones\' JSON can hold any name, jdupes\' only UTF-8' -r -f -a "fclones\t''
jdupes\t''"
complete -c mergerfs.xdedup -n "__fish_mergerfs.xdedup_using_subcommand preview" -l report -d 'Write a report to FILE, as one HTML page' -r -F
complete -c mergerfs.xdedup -n "__fish_mergerfs.xdedup_using_subcommand preview" -l script -d 'Write the plan of a dry run to FILE, as a shell script to read and to run by hand' -r -F
complete -c mergerfs.xdedup -n "__fish_mergerfs.xdedup_using_subcommand preview" -l db-file -d 'Accepted for the sake of old command lines, and not used' -r -F
complete -c mergerfs.xdedup -n "__fish_mergerfs.xdedup_using_subcommand preview" -l log-file -d 'Write the CSV log to FILE [default: log.csv beside the journal]' -r -F
complete -c mergerfs.xdedup -n "__fish_mergerfs.xdedup_using_subcommand preview" -l journal -d 'Keep the journal in DIR [default: /var/lib/mergerfs-xdedup, or $XDG_STATE_HOME/mergerfs-xdedup]' -r -f -a "(__fish_complete_directories)"
complete -c mergerfs.xdedup -n "__fish_mergerfs.xdedup_using_subcommand preview" -l format -d 'Print text, JSON lines, or the plan as a shell script' -r -f -a "text\t'For people'
json\t'One JSON object a line'
script\t'The plan of a dry run as a shell script'"
complete -c mergerfs.xdedup -n "__fish_mergerfs.xdedup_using_subcommand preview" -l color -d 'Use colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR or CLICOLOR=0 says not to'
always\t'Into pipes and files too'
never\t'Nowhere'"
complete -c mergerfs.xdedup -n "__fish_mergerfs.xdedup_using_subcommand preview" -l config -d 'Read options from FILE, one a line: long names without dashes, such as "primary = /pool/media" and "dir = /pool"' -r -F
complete -c mergerfs.xdedup -n "__fish_mergerfs.xdedup_using_subcommand preview" -l allow-other -d 'Let other users look too, within the permissions of the files [root: always]'
complete -c mergerfs.xdedup -n "__fish_mergerfs.xdedup_using_subcommand preview" -l any-master -d 'Link duplicates that have no copy under -p, too'
complete -c mergerfs.xdedup -n "__fish_mergerfs.xdedup_using_subcommand preview" -l no-cache -d 'Read every file again, and remember nothing'
complete -c mergerfs.xdedup -n "__fish_mergerfs.xdedup_using_subcommand preview" -l no-progress -d 'Draw no progress bar'
complete -c mergerfs.xdedup -n "__fish_mergerfs.xdedup_using_subcommand preview" -s e -l execute -d 'Apply the changes (default: dry run)'
complete -c mergerfs.xdedup -n "__fish_mergerfs.xdedup_using_subcommand preview" -s n -l dry-run -d 'Change nothing, whatever a configuration file says'
complete -c mergerfs.xdedup -n "__fish_mergerfs.xdedup_using_subcommand preview" -l accept-branches -d 'Go on although a disk, the journal or the clock is not as it was in the last run'
complete -c mergerfs.xdedup -n "__fish_mergerfs.xdedup_using_subcommand preview" -l no-lease -d 'Work without leases, on filesystems that have none; only while nothing else uses the pool'
complete -c mergerfs.xdedup -n "__fish_mergerfs.xdedup_using_subcommand preview" -s v -l verbose -d 'List every file, and say more; repeat for more'
complete -c mergerfs.xdedup -n "__fish_mergerfs.xdedup_using_subcommand preview" -s q -l quiet -d 'Print only problems'
complete -c mergerfs.xdedup -n "__fish_mergerfs.xdedup_using_subcommand preview" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mergerfs.xdedup -n "__fish_mergerfs.xdedup_using_subcommand resume" -l discard -d 'Remove hidden files that ended runs left: those at PATH, or all that `status` lists as conflicts' -r -F
complete -c mergerfs.xdedup -n "__fish_mergerfs.xdedup_using_subcommand resume" -l log-file -d 'The CSV log for --salvage [default: log.csv in the journal directory]' -r -F
complete -c mergerfs.xdedup -n "__fish_mergerfs.xdedup_using_subcommand resume" -l ignore-metadata -d 'The --ignore-metadata of the run' -r -f -a "(__fish_append , owner mode acl xattr)"
complete -c mergerfs.xdedup -n "__fish_mergerfs.xdedup_using_subcommand resume" -l from-log -d 'Link the files that the old mergerfs-dedupe script deleted and did not link: FILE is its unfinished log (filepath,status), -m the list that the script read' -r -F
complete -c mergerfs.xdedup -n "__fish_mergerfs.xdedup_using_subcommand resume" -s m -l manifest -d 'The list of duplicates for --from-log' -r -F
complete -c mergerfs.xdedup -n "__fish_mergerfs.xdedup_using_subcommand resume" -l manifest-format -d 'The form of the list, if its contents do not show the form' -r
complete -c mergerfs.xdedup -n "__fish_mergerfs.xdedup_using_subcommand resume" -l base -d 'Where relative paths begin [default: as the list says, otherwise the current directory]' -r -F
complete -c mergerfs.xdedup -n "__fish_mergerfs.xdedup_using_subcommand resume" -l journal -d 'Keep the journal in DIR [default: /var/lib/mergerfs-xdedup, or $XDG_STATE_HOME/mergerfs-xdedup]' -r -f -a "(__fish_complete_directories)"
complete -c mergerfs.xdedup -n "__fish_mergerfs.xdedup_using_subcommand resume" -l format -d 'Print text, JSON lines, or the plan as a shell script' -r -f -a "text\t'For people'
json\t'One JSON object a line'
script\t'The plan of a dry run as a shell script'"
complete -c mergerfs.xdedup -n "__fish_mergerfs.xdedup_using_subcommand resume" -l color -d 'Use colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR or CLICOLOR=0 says not to'
always\t'Into pipes and files too'
never\t'Nowhere'"
complete -c mergerfs.xdedup -n "__fish_mergerfs.xdedup_using_subcommand resume" -l config -d 'Read options from FILE, one a line: long names without dashes, such as "primary = /pool/media" and "dir = /pool"' -r -F
complete -c mergerfs.xdedup -n "__fish_mergerfs.xdedup_using_subcommand resume" -l salvage -d 'Finish or put back without the journal, if it is lost or damaged'
complete -c mergerfs.xdedup -n "__fish_mergerfs.xdedup_using_subcommand resume" -s e -l execute -d 'Apply --salvage or --discard; `resume` alone acts at once, with and without -e'
complete -c mergerfs.xdedup -n "__fish_mergerfs.xdedup_using_subcommand resume" -s n -l dry-run -d 'Show what is open; change nothing'
complete -c mergerfs.xdedup -n "__fish_mergerfs.xdedup_using_subcommand resume" -s v -l verbose -d 'List every file, and say more; repeat for more'
complete -c mergerfs.xdedup -n "__fish_mergerfs.xdedup_using_subcommand resume" -s q -l quiet -d 'Print only problems'
complete -c mergerfs.xdedup -n "__fish_mergerfs.xdedup_using_subcommand resume" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mergerfs.xdedup -n "__fish_mergerfs.xdedup_using_subcommand undo" -l path -d 'Only files at or below PATH in the pool (repeatable)' -r -F
complete -c mergerfs.xdedup -n "__fish_mergerfs.xdedup_using_subcommand undo" -l max-time -d 'Stop after TIME: the batch in hand is finished, and the other files are left for the next undo' -r
complete -c mergerfs.xdedup -n "__fish_mergerfs.xdedup_using_subcommand undo" -l log-file -d 'Write the CSV log to FILE [default: log.csv beside the journal]' -r -F
complete -c mergerfs.xdedup -n "__fish_mergerfs.xdedup_using_subcommand undo" -l journal -d 'Keep the journal in DIR [default: /var/lib/mergerfs-xdedup, or $XDG_STATE_HOME/mergerfs-xdedup]' -r -f -a "(__fish_complete_directories)"
complete -c mergerfs.xdedup -n "__fish_mergerfs.xdedup_using_subcommand undo" -l format -d 'Print text, JSON lines, or the plan as a shell script' -r -f -a "text\t'For people'
json\t'One JSON object a line'
script\t'The plan of a dry run as a shell script'"
complete -c mergerfs.xdedup -n "__fish_mergerfs.xdedup_using_subcommand undo" -l color -d 'Use colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR or CLICOLOR=0 says not to'
always\t'Into pipes and files too'
never\t'Nowhere'"
complete -c mergerfs.xdedup -n "__fish_mergerfs.xdedup_using_subcommand undo" -l config -d 'Read options from FILE, one a line: long names without dashes, such as "primary = /pool/media" and "dir = /pool"' -r -F
complete -c mergerfs.xdedup -n "__fish_mergerfs.xdedup_using_subcommand undo" -s e -l execute -d 'Apply the changes (default: dry run)'
complete -c mergerfs.xdedup -n "__fish_mergerfs.xdedup_using_subcommand undo" -s n -l dry-run -d 'Change nothing (default)'
complete -c mergerfs.xdedup -n "__fish_mergerfs.xdedup_using_subcommand undo" -l accept-branches -d 'Go on although a disk, the journal or the clock is not as it was in the last run'
complete -c mergerfs.xdedup -n "__fish_mergerfs.xdedup_using_subcommand undo" -l no-lease -d 'Work without leases, on filesystems that have none; only while nothing else uses the pool'
complete -c mergerfs.xdedup -n "__fish_mergerfs.xdedup_using_subcommand undo" -l no-progress -d 'Draw no progress bar'
complete -c mergerfs.xdedup -n "__fish_mergerfs.xdedup_using_subcommand undo" -s v -l verbose -d 'List every file, and say more; repeat for more'
complete -c mergerfs.xdedup -n "__fish_mergerfs.xdedup_using_subcommand undo" -s q -l quiet -d 'Print only problems'
complete -c mergerfs.xdedup -n "__fish_mergerfs.xdedup_using_subcommand undo" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mergerfs.xdedup -n "__fish_mergerfs.xdedup_using_subcommand verify" -l journal -d 'Keep the journal in DIR [default: /var/lib/mergerfs-xdedup, or $XDG_STATE_HOME/mergerfs-xdedup]' -r -f -a "(__fish_complete_directories)"
complete -c mergerfs.xdedup -n "__fish_mergerfs.xdedup_using_subcommand verify" -l format -d 'Print text, JSON lines, or the plan as a shell script' -r -f -a "text\t'For people'
json\t'One JSON object a line'
script\t'The plan of a dry run as a shell script'"
complete -c mergerfs.xdedup -n "__fish_mergerfs.xdedup_using_subcommand verify" -l color -d 'Use colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR or CLICOLOR=0 says not to'
always\t'Into pipes and files too'
never\t'Nowhere'"
complete -c mergerfs.xdedup -n "__fish_mergerfs.xdedup_using_subcommand verify" -l config -d 'Read options from FILE, one a line: long names without dashes, such as "primary = /pool/media" and "dir = /pool"' -r -F
complete -c mergerfs.xdedup -n "__fish_mergerfs.xdedup_using_subcommand verify" -l no-progress -d 'Draw no progress bar'
complete -c mergerfs.xdedup -n "__fish_mergerfs.xdedup_using_subcommand verify" -s v -l verbose -d 'List every file, and say more; repeat for more'
complete -c mergerfs.xdedup -n "__fish_mergerfs.xdedup_using_subcommand verify" -s q -l quiet -d 'Print only problems'
complete -c mergerfs.xdedup -n "__fish_mergerfs.xdedup_using_subcommand verify" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mergerfs.xdedup -n "__fish_mergerfs.xdedup_using_subcommand status" -l journal -d 'Keep the journal in DIR [default: /var/lib/mergerfs-xdedup, or $XDG_STATE_HOME/mergerfs-xdedup]' -r -f -a "(__fish_complete_directories)"
complete -c mergerfs.xdedup -n "__fish_mergerfs.xdedup_using_subcommand status" -l format -d 'Print text, JSON lines, or the plan as a shell script' -r -f -a "text\t'For people'
json\t'One JSON object a line'
script\t'The plan of a dry run as a shell script'"
complete -c mergerfs.xdedup -n "__fish_mergerfs.xdedup_using_subcommand status" -l color -d 'Use colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR or CLICOLOR=0 says not to'
always\t'Into pipes and files too'
never\t'Nowhere'"
complete -c mergerfs.xdedup -n "__fish_mergerfs.xdedup_using_subcommand status" -l config -d 'Read options from FILE, one a line: long names without dashes, such as "primary = /pool/media" and "dir = /pool"' -r -F
complete -c mergerfs.xdedup -n "__fish_mergerfs.xdedup_using_subcommand status" -s v -l verbose -d 'List every file, and say more; repeat for more'
complete -c mergerfs.xdedup -n "__fish_mergerfs.xdedup_using_subcommand status" -s q -l quiet -d 'Print only problems'
complete -c mergerfs.xdedup -n "__fish_mergerfs.xdedup_using_subcommand status" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mergerfs.xdedup -n "__fish_mergerfs.xdedup_using_subcommand doctor" -l journal -d 'Keep the journal in DIR [default: /var/lib/mergerfs-xdedup, or $XDG_STATE_HOME/mergerfs-xdedup]' -r -f -a "(__fish_complete_directories)"
complete -c mergerfs.xdedup -n "__fish_mergerfs.xdedup_using_subcommand doctor" -l format -d 'Print text, JSON lines, or the plan as a shell script' -r -f -a "text\t'For people'
json\t'One JSON object a line'
script\t'The plan of a dry run as a shell script'"
complete -c mergerfs.xdedup -n "__fish_mergerfs.xdedup_using_subcommand doctor" -l color -d 'Use colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR or CLICOLOR=0 says not to'
always\t'Into pipes and files too'
never\t'Nowhere'"
complete -c mergerfs.xdedup -n "__fish_mergerfs.xdedup_using_subcommand doctor" -l config -d 'Read options from FILE, one a line: long names without dashes, such as "primary = /pool/media" and "dir = /pool"' -r -F
complete -c mergerfs.xdedup -n "__fish_mergerfs.xdedup_using_subcommand doctor" -l quick -d 'Look for names that crashes left in the uppermost directories only'
complete -c mergerfs.xdedup -n "__fish_mergerfs.xdedup_using_subcommand doctor" -s v -l verbose -d 'List every file, and say more; repeat for more'
complete -c mergerfs.xdedup -n "__fish_mergerfs.xdedup_using_subcommand doctor" -s q -l quiet -d 'Print only problems'
complete -c mergerfs.xdedup -n "__fish_mergerfs.xdedup_using_subcommand doctor" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mergerfs.xdedup -n "__fish_mergerfs.xdedup_using_subcommand history" -l prune -d 'Forget runs older than DAYS, which then can no longer be undone or verified; open files are kept' -r
complete -c mergerfs.xdedup -n "__fish_mergerfs.xdedup_using_subcommand history" -l journal -d 'Keep the journal in DIR [default: /var/lib/mergerfs-xdedup, or $XDG_STATE_HOME/mergerfs-xdedup]' -r -f -a "(__fish_complete_directories)"
complete -c mergerfs.xdedup -n "__fish_mergerfs.xdedup_using_subcommand history" -l format -d 'Print text, JSON lines, or the plan as a shell script' -r -f -a "text\t'For people'
json\t'One JSON object a line'
script\t'The plan of a dry run as a shell script'"
complete -c mergerfs.xdedup -n "__fish_mergerfs.xdedup_using_subcommand history" -l color -d 'Use colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR or CLICOLOR=0 says not to'
always\t'Into pipes and files too'
never\t'Nowhere'"
complete -c mergerfs.xdedup -n "__fish_mergerfs.xdedup_using_subcommand history" -l config -d 'Read options from FILE, one a line: long names without dashes, such as "primary = /pool/media" and "dir = /pool"' -r -F
complete -c mergerfs.xdedup -n "__fish_mergerfs.xdedup_using_subcommand history" -s n -l dry-run -d 'Show the runs that --prune would forget; change nothing'
complete -c mergerfs.xdedup -n "__fish_mergerfs.xdedup_using_subcommand history" -s v -l verbose -d 'List every file, and say more; repeat for more'
complete -c mergerfs.xdedup -n "__fish_mergerfs.xdedup_using_subcommand history" -s q -l quiet -d 'Print only problems'
complete -c mergerfs.xdedup -n "__fish_mergerfs.xdedup_using_subcommand history" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mergerfs.xdedup -n "__fish_mergerfs.xdedup_using_subcommand export" -l journal -d 'Keep the journal in DIR [default: /var/lib/mergerfs-xdedup, or $XDG_STATE_HOME/mergerfs-xdedup]' -r -f -a "(__fish_complete_directories)"
complete -c mergerfs.xdedup -n "__fish_mergerfs.xdedup_using_subcommand export" -l format -d 'Print text, JSON lines, or the plan as a shell script' -r -f -a "text\t'For people'
json\t'One JSON object a line'
script\t'The plan of a dry run as a shell script'"
complete -c mergerfs.xdedup -n "__fish_mergerfs.xdedup_using_subcommand export" -l color -d 'Use colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR or CLICOLOR=0 says not to'
always\t'Into pipes and files too'
never\t'Nowhere'"
complete -c mergerfs.xdedup -n "__fish_mergerfs.xdedup_using_subcommand export" -l config -d 'Read options from FILE, one a line: long names without dashes, such as "primary = /pool/media" and "dir = /pool"' -r -F
complete -c mergerfs.xdedup -n "__fish_mergerfs.xdedup_using_subcommand export" -l csv -d 'Print the lines of the CSV log'
complete -c mergerfs.xdedup -n "__fish_mergerfs.xdedup_using_subcommand export" -l json -d 'Print each record as a JSON line (default)'
complete -c mergerfs.xdedup -n "__fish_mergerfs.xdedup_using_subcommand export" -s v -l verbose -d 'List every file, and say more; repeat for more'
complete -c mergerfs.xdedup -n "__fish_mergerfs.xdedup_using_subcommand export" -s q -l quiet -d 'Print only problems'
complete -c mergerfs.xdedup -n "__fish_mergerfs.xdedup_using_subcommand export" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mergerfs.xdedup -n "__fish_mergerfs.xdedup_using_subcommand completions" -l journal -d 'Keep the journal in DIR [default: /var/lib/mergerfs-xdedup, or $XDG_STATE_HOME/mergerfs-xdedup]' -r -f -a "(__fish_complete_directories)"
complete -c mergerfs.xdedup -n "__fish_mergerfs.xdedup_using_subcommand completions" -l format -d 'Print text, JSON lines, or the plan as a shell script' -r -f -a "text\t'For people'
json\t'One JSON object a line'
script\t'The plan of a dry run as a shell script'"
complete -c mergerfs.xdedup -n "__fish_mergerfs.xdedup_using_subcommand completions" -l color -d 'Use colours' -r -f -a "auto\t'On a terminal, unless NO_COLOR or CLICOLOR=0 says not to'
always\t'Into pipes and files too'
never\t'Nowhere'"
complete -c mergerfs.xdedup -n "__fish_mergerfs.xdedup_using_subcommand completions" -l config -d 'Read options from FILE, one a line: long names without dashes, such as "primary = /pool/media" and "dir = /pool"' -r -F
complete -c mergerfs.xdedup -n "__fish_mergerfs.xdedup_using_subcommand completions" -s v -l verbose -d 'List every file, and say more; repeat for more'
complete -c mergerfs.xdedup -n "__fish_mergerfs.xdedup_using_subcommand completions" -s q -l quiet -d 'Print only problems'
complete -c mergerfs.xdedup -n "__fish_mergerfs.xdedup_using_subcommand completions" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mergerfs.xdedup -n "__fish_mergerfs.xdedup_using_subcommand help; and not __fish_seen_subcommand_from preview resume undo verify status doctor history export completions help" -f -a "preview" -d 'Mount the result read-only, before anything is changed'
complete -c mergerfs.xdedup -n "__fish_mergerfs.xdedup_using_subcommand help; and not __fish_seen_subcommand_from preview resume undo verify status doctor history export completions help" -f -a "resume" -d 'Finish or put back what an interrupted run left open'
complete -c mergerfs.xdedup -n "__fish_mergerfs.xdedup_using_subcommand help; and not __fish_seen_subcommand_from preview resume undo verify status doctor history export completions help" -f -a "undo" -d 'Turn the links of a run back into separate copies'
complete -c mergerfs.xdedup -n "__fish_mergerfs.xdedup_using_subcommand help; and not __fish_seen_subcommand_from preview resume undo verify status doctor history export completions help" -f -a "verify" -d 'Re-read kept files and check their hashes'
complete -c mergerfs.xdedup -n "__fish_mergerfs.xdedup_using_subcommand help; and not __fish_seen_subcommand_from preview resume undo verify status doctor history export completions help" -f -a "status" -d 'Show open files, conflicts and the last run'
complete -c mergerfs.xdedup -n "__fish_mergerfs.xdedup_using_subcommand help; and not __fish_seen_subcommand_from preview resume undo verify status doctor history export completions help" -f -a "doctor" -d 'Check a pool for problems'
complete -c mergerfs.xdedup -n "__fish_mergerfs.xdedup_using_subcommand help; and not __fish_seen_subcommand_from preview resume undo verify status doctor history export completions help" -f -a "history" -d 'List all runs'
complete -c mergerfs.xdedup -n "__fish_mergerfs.xdedup_using_subcommand help; and not __fish_seen_subcommand_from preview resume undo verify status doctor history export completions help" -f -a "export" -d 'Print the journal, for programs'
complete -c mergerfs.xdedup -n "__fish_mergerfs.xdedup_using_subcommand help; and not __fish_seen_subcommand_from preview resume undo verify status doctor history export completions help" -f -a "completions" -d 'Print a completion script for a shell'
complete -c mergerfs.xdedup -n "__fish_mergerfs.xdedup_using_subcommand help; and not __fish_seen_subcommand_from preview resume undo verify status doctor history export completions help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c mergerfs.xdedup -n "__fish_mergerfs.xdedup_using_subcommand preview" -f -a "(__fish_complete_directories)"
complete -c mergerfs.xdedup -n "__fish_mergerfs.xdedup_using_subcommand doctor" -f -a "(__fish_complete_directories)"
complete -c mergerfs.xdedup -n "__fish_mergerfs.xdedup_using_subcommand resume" -f -a "(__fish_complete_directories)"
complete -c mergerfs.xdedup -n "__fish_mergerfs.xdedup_needs_command" -f -a "(__fish_complete_directories)"
