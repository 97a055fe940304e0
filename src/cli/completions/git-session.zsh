#compdef git-session
#description run workers in worktrees of their own
#
# Completes 'git session' and 'git-session' in zsh: its completion of git calls _git-session. All answers come from
# the program itself.

_git-session() {
  local answer value about
  local -a there answers
  # Within the completion of git, its -C says where the repository is.
  if [[ $service == git && -n $opt_args[(i)-C] ]]; then
    there=(-C ${(Q)${opt_args[-C]}})
  fi
  for answer in "${(@f)$(_call_program sessions git $there session complete -- "${(@q)${(@Q)words[2,CURRENT-1]}}" "${(q)PREFIX}" 2>/dev/null)}"; do
    value=${answer%%$'\t'*}
    case $value in
      (:command)
        local at=${words[(i)--]}
        words=("${(@)words[at+1,-1]}")
        (( CURRENT -= at ))
        _normal
        return
        ;;
      (:directories)
        compset -P 1 '--*='
        _directories
        return
        ;;
      (?*)
        about=${answer#*$'\t'}
        answers+=("${value//:/\\:}${about:+:$about}")
        ;;
    esac
  done
  _describe -V -t sessions 'git session' answers
}

_git-session "$@"
