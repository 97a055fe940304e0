# Completes 'git-session' in fish; all answers come from the program itself.

function __git_session_answers
    set -l words (commandline -opc)
    set -e words[1]
    set -l typed (commandline -ct)
    set -l asked git-session
    set -q __git_session_asked; and set asked $__git_session_asked
    for answer in ($asked complete -- $words "$typed" 2>/dev/null)
        switch $answer
            case ':command*'
                set -l at (contains -i -- -- $words)
                set -l rest
                test $at -lt (count $words); and set rest (string escape -- $words[(math $at + 1)..])
                complete -C (string join ' ' -- $rest $typed)
            case ':directories*'
                __fish_complete_directories (string replace -r '^--[^=]*=' '' -- $typed)
            case '*'
                echo $answer
        end
    end
end

complete -c git-session -f -k -a '(__git_session_answers)'
