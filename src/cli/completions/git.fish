# Completes 'git session' in fish as 'git-session' is completed; its own completion of git doesn't in every version.

function __git_session_of_git
    set -l words (commandline -opc)
    set -l at (contains -i -- session $words)
    or return
    # What stands before says which repository is meant.
    set -g __git_session_asked $words[1..$at]
    set -e words[1..$at]
    complete -C (string join ' ' -- git-session (string escape -- $words) (commandline -ct))
    set -e __git_session_asked
end

complete -c git -n __fish_git_needs_command -f -a session -d 'Run workers in worktrees of their own'
complete -c git -n '__fish_git_using_command session' -f -k -a '(__git_session_of_git)'
