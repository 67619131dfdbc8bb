//! The shells' halves of completion: each asks the program, and shows what it says.

/// The script for a shell, with the program's name in it.
pub fn script(shell: &str, program: &str) -> Option<String> {
    let text = match shell {
        "bash" => BASH,
        "zsh" => ZSH,
        "fish" => FISH,
        "powershell" => POWERSHELL,
        _ => return None,
    };
    Some(text.replace("PROGRAM", program))
}

/// Bash has divided the line at its word breaks, too (`:` and `=` among them), and replaces only what follows
/// the last of them.
const BASH: &str = r#"# Completion of PROGRAM for bash.

_PROGRAM() {
    local line=${COMP_LINE:0:COMP_POINT} words=() i piece
    for ((i = 0; i <= COMP_CWORD; i++)); do
        piece=${COMP_WORDS[i]}
        if ((i == 0)) || [[ $line == [[:space:]]* ]]; then
            line=${line#"${line%%[![:space:]]*}"}
            ((i == COMP_CWORD)) && piece=$line
            words+=("$piece")
        else
            ((i == COMP_CWORD)) && piece=$line
            words[${#words[@]} - 1]+=$piece
        fi
        line=${line#"$piece"}
    done

    local whole=${words[${#words[@]} - 1]} answer next=0 flag='' kept='' candidate
    answer=$(command "${words[0]/#\~/$HOME}" __completeNoDesc "${words[@]:1}" 2>/dev/null) || return
    next=${answer##*:}
    [[ $next =~ ^[0-9]+$ ]] || return
    answer=${answer%:*}

    [[ $whole == -*=* ]] && flag=${whole%%=*}=
    [[ $COMP_WORDBREAKS == *=* && $whole == *=* ]] && kept=${whole%"${whole##*=}"}
    [[ $COMP_WORDBREAKS == *:* && $whole == *:* && ${whole##*:} != *=* ]] && kept=${whole%"${whole##*:}"}

    COMPREPLY=()
    while IFS= read -r candidate; do
        [[ -n $candidate ]] || continue
        candidate=$flag$candidate
        COMPREPLY+=("${candidate#"$kept"}")
    done <<<"$answer"

    ((next & 2)) && compopt -o nospace 2>/dev/null
    ((next & 4)) && compopt +o default 2>/dev/null
    ((next & 16)) && compopt -o dirnames +o default 2>/dev/null
    return 0
}

complete -o default -F _PROGRAM PROGRAM
"#;

const ZSH: &str = r#"#compdef PROGRAM
# Completion of PROGRAM for zsh.

_PROGRAM() {
    local answer line text about
    local -i next
    local -a candidates more
    answer="$(command "${words[1]/#\~/$HOME}" __complete "${(@Q)words[2,CURRENT-1]}" "${(Q)PREFIX}" 2>/dev/null)" || return 1
    [[ "${answer##*:}" == <-> ]] || return 1
    next=${answer##*:}
    for line in "${(@f)answer%:*}"; do
        [[ -n "$line" ]] || continue
        text="${line%%$'\t'*}"
        about=""
        [[ "$line" == *$'\t'* ]] && about=":${line#*$'\t'}"
        candidates+=("${text//:/\\:}$about")
    done
    [[ "$PREFIX" == -*=* ]] && compset -P '*='
    (( next & 2 )) && more=(-S '')
    if (( ${#candidates} )); then
        _describe -V PROGRAM candidates "${more[@]}"
        return
    fi
    (( next & 16 )) && { _files -/; return }
    (( next & 4 )) || _files
}

if [[ "${funcstack[1]}" == _PROGRAM ]]; then
    _PROGRAM
else
    compdef _PROGRAM PROGRAM
fi
"#;

const FISH: &str = r#"# Completion of PROGRAM for fish.

function __PROGRAM_complete
    set -l words (commandline -opc)
    set -l current (commandline -ct)
    set -l program $words[1]
    set -e words[1]
    set -l answer (command $program __complete $words $current 2>/dev/null)
    or return
    set -l next (string replace ':' '' -- $answer[-1])
    set -e answer[-1]
    set -l flag ''
    set -l rest $current
    if string match -qr -- '^-.*=' $current
        set flag (string replace -r -- '=.*' '=' $current)
        set rest (string replace -r -- '^[^=]*=' '' $current)
    end
    if test (count $answer) -eq 0
        switch $next
            case 0 2
                string join \n -- $flag(__fish_complete_path $rest)
            case 16
                string join \n -- $flag(__fish_complete_directories $rest)
        end
        return
    end
    string join \n -- $flag$answer
end

complete -c PROGRAM -e
complete -c PROGRAM -f -a '(__PROGRAM_complete)'
"#;

const POWERSHELL: &str = r#"# Completion of PROGRAM for PowerShell.

Register-ArgumentCompleter -Native -CommandName 'PROGRAM' -ScriptBlock {
    param($wordToComplete, $commandAst, $cursorPosition)
    $before = @($commandAst.CommandElements | Where-Object { $_.Extent.EndOffset -lt $cursorPosition } |
        ForEach-Object { $_.ToString() })
    $words = @($before | Select-Object -Skip 1)
    $answer = @(& $before[0] __complete @words $wordToComplete 2>$null)
    if ($answer.Count -lt 2) { return }
    $flag = if ($wordToComplete -match '^(-[^=]*=)') { $Matches[1] } else { '' }
    $answer | Select-Object -SkipLast 1 | ForEach-Object {
        $text, $about = $_ -split "`t", 2
        if (-not $about) { $about = $text }
        [System.Management.Automation.CompletionResult]::new("$flag$text", $text, 'ParameterValue', $about)
    }
}
"#;
