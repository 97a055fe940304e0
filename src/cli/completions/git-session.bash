# Completes 'git session' and 'git-session' in bash.
#
# git's own completion calls _git_session; all answers come from the program itself.

# Completes the word $cur of words[], where words[$1] is the session command and the rest asks the program.
__git_session_reply() {
	local at=$1 value about typed=$cur strip= space=' '
	shift
	COMPREPLY=()
	if [[ $cur == --*=* ]]; then
		typed=${cur#*=}
		# bash takes what is after the '=' for a word of its own, unless told otherwise.
		[[ $COMP_WORDBREAKS == *=* ]] && strip=${cur%%=*}=
	fi
	while IFS=$'\t' read -r value about; do
		case $value in
		:command)
			__git_session_command
			return
			;;
		:directories)
			compopt -o filenames 2>/dev/null
			while IFS= read -r value; do
				[[ $strip ]] || value=${cur%"$typed"}$value
				COMPREPLY+=("$value")
			done < <(compgen -d -- "$typed")
			return
			;;
		"$cur"*) COMPREPLY+=("${value#"$strip"}$space") ;;
		esac
	done < <("$@" complete -- "${words[@]:at+1:cword-at-1}" "$cur" 2>/dev/null)
}

# After '--' stands a command that knows for itself how it is completed.
__git_session_command() {
	local at
	for ((at = 1; at < COMP_CWORD; at++)); do
		[[ ${COMP_WORDS[at]} == -- ]] && break
	done
	if declare -F _command_offset >/dev/null; then
		_command_offset $((at + 1))
	elif ((COMP_CWORD == at + 1)); then
		COMPREPLY=($(compgen -c -- "$cur"))
	else
		COMPREPLY=($(compgen -f -- "$cur"))
	fi
}

# Called by git's completion, with its variables.
_git_session() {
	local at=${__git_cmd_idx-1}
	# git's own completion offers files where there is no answer.
	compopt +o default +o bashdefault 2>/dev/null
	if [[ -z ${__git_cmd_idx-} ]]; then
		while ((at < cword)) && [[ ${words[at]} != session ]]; do
			((at++))
		done
	fi
	__git_session_reply "$at" __git session
}

# Called by bash for 'git-session'.
__git_session_main() {
	local cur words=() cword at glue=
	# bash cuts words at '=', too.
	for ((at = 0; at <= COMP_CWORD; at++)); do
		if [[ ${COMP_WORDS[at]} == = || $glue ]] && ((${#words[@]})); then
			words[${#words[@]} - 1]+=${COMP_WORDS[at]}
			[[ ${COMP_WORDS[at]} == = ]] && glue=1 || glue=
		else
			words+=("${COMP_WORDS[at]}")
		fi
	done
	cword=$((${#words[@]} - 1))
	cur=${words[cword]}
	__git_session_reply 0 git-session
}

complete -o nospace -F __git_session_main git-session
