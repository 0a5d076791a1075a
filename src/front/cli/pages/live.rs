//! Completions that know the sandboxes there are now.
//!
//! # Theory of operation
//! What clap generates knows words that never change. To that is added, for commands that take sandboxes, a call
//! of `bryo __complete COMMAND`, which prints a name or an id per line. Both have only letters, digits and `_.-`:
//! nothing in them means anything to a shell.

use std::ffi::OsString;

use clap_complete::Shell;

use crate::front::cli::output::Answer;
use crate::ops::ps::names;
use crate::ops::stores::Here;
use crate::report::Failure;

/// Commands about sandboxes that run.
const RUNNING: &[&str] =
    &["attach", "kill", "pause", "stop", "unpause", "exec", "top", "stats", "port"];
/// Commands about sandboxes that ended.
const ENDED: &[&str] = &["start", "apply", "discard", "export"];
/// Commands about any.
const ANY: &[&str] =
    &["cp", "diff", "inspect", "logs", "rename", "restart", "rm", "wait", "generate"];

/// Answers the words after `bryo __complete`: which sandboxes a command can be about. Whatever is wrong, there
/// are none: somebody is typing.
pub fn words(arguments: &[OsString]) -> Result<Answer, Failure> {
    let command = arguments.first().and_then(|word| word.to_str()).unwrap_or_default();
    let is_wanted = |runs: bool| match command {
        command if RUNNING.contains(&command) => runs,
        command if ENDED.contains(&command) => !runs,
        command => ANY.contains(&command),
    };
    let found = Here::look().and_then(|here| names(&here.stores, is_wanted)).unwrap_or_default();
    // A path follows.
    Ok(Answer::text(if command == "cp" { found.replace('\n', ":\n") } else { found }))
}

/// A script with the calls in it.
pub(super) fn with_sandboxes(shell: Shell, script: &str) -> String {
    let all = [RUNNING, ENDED, ANY].concat();
    match shell {
        Shell::Bash => format!(
            "{}{}",
            script.replace("complete -F _bryo ", "complete -F _bryo_live "),
            bash(&all)
        ),
        Shell::Zsh => zsh(script),
        Shell::Fish => format!("{script}{}", fish(&all)),
        _ => script.to_owned(),
    }
}

fn bash(commands: &[&str]) -> String {
    format!(
        r#"
_bryo_live() {{
    _bryo "$@"
    local word=${{COMP_WORDS[COMP_CWORD]}} before=${{COMP_WORDS[COMP_CWORD-1]}}
    # A colon is a word of its own.
    if [[ ${{COMP_WORDS[1]}} == @(run|shell) && $before == --continue ]]; then
        COMPREPLY=($(compgen -W "$(command bryo __complete start 2>/dev/null)" -- "$word"))
        return
    elif [[ ${{COMP_WORDS[1]}} == @(run|shell) && $before == --network ]]; then
        COMPREPLY+=($(compgen -P sandbox: -W "$(command bryo __complete exec 2>/dev/null)" -- "${{word#sandbox}}"))
        return
    elif [[ ${{COMP_WORDS[1]}} == @(run|shell) && " ${{COMP_WORDS[*]:0:COMP_CWORD+1}}" == *" --network sandbox :"* ]]; then
        [[ $word == : ]] && word=
        [[ $word == "" || $before == : ]] && COMPREPLY=($(compgen -W "$(command bryo __complete exec 2>/dev/null)" -- "$word"))
        return
    fi
    case ${{COMP_WORDS[1]}} in
        {})
            if [[ ${{COMP_WORDS[COMP_CWORD]}} != -* && COMP_CWORD -gt 1 ]]; then
                COMPREPLY+=($(compgen -W "$(command bryo __complete "${{COMP_WORDS[1]}}" 2>/dev/null)" -- "${{COMP_WORDS[COMP_CWORD]}}"))
            fi
            ;;
    esac
}}
"#,
        commands.join("|")
    )
}

/// clap writes `:sandbox -- help text:_default` for the word, and `:MODE:(none user …)` for what it knows of a flag.
fn zsh(script: &str) -> String {
    let line = |line: &str| {
        let is_network = line.contains("'--network=[") || line.contains("'--net=[");
        if is_network && let Some((flag, words)) = line.rsplit_once(":(") {
            // The blank keeps zsh from adding words of its own.
            format!("{flag}: _bryo_networks {}\n", words.replacen(")'", "'", 1))
        } else if line.contains("'--continue=[") {
            line.replace(":_default'", ":_bryo_ended'") + "\n"
        } else if line.contains(":sandbox -- ") {
            line.replace(":_default'", ":_bryo_sandboxes'") + "\n"
        } else {
            format!("{line}\n")
        }
    };
    let (head, rest) = script.split_once('\n').unwrap_or((script, ""));
    let function = "\n_bryo_sandboxes() {\n    local -a found\n    \
                    found=(${(f)\"$(command bryo __complete ${words[1]} 2>/dev/null)\"})\n    \
                    compadd -a found\n}\n\n_bryo_ended() {\n    local -a found\n    \
                    found=(${(f)\"$(command bryo __complete start 2>/dev/null)\"})\n    \
                    compadd -a found\n}\n\n_bryo_networks() {\n    local -a found\n    \
                    found=(${(f)\"$(command bryo __complete exec 2>/dev/null)\"})\n    \
                    found=(\"$@\" sandbox:${^found})\n    compadd -a found\n}\n";
    [format!("{head}\n{function}")].into_iter().chain(rest.lines().map(line)).collect()
}

/// Of flags, in fish.
const FLAGS: &str = r#"complete -c bryo -n "__fish_seen_subcommand_from run shell" -l continue -x -a "(command bryo __complete start 2>/dev/null)"
complete -c bryo -n "__fish_seen_subcommand_from run shell" -l network -x -a "(command bryo __complete exec 2>/dev/null | string replace -r '^' sandbox:)"
"#;

fn fish(commands: &[&str]) -> String {
    let line = |command: &&str| {
        // Of which a file is the other word.
        let no_files = if *command == "cp" { "" } else { " -f" };
        format!(
            "complete -c bryo -n \"__fish_bryo_using_subcommand {command}\"{no_files} -a \"(command bryo __complete {command} 2>/dev/null)\"\n"
        )
    };
    commands.iter().map(line).chain([FLAGS.to_owned()]).collect()
}
