//! Completions that know the sandboxes there are now.
//!
//! # Theory of operation
//! What clap generates knows words that never change. To that is added, for commands that take sandboxes, a call
//! of `bryo __complete COMMAND`, which prints a name or an id per line; `networks` and `profiles` stand for a command
//! where those are wanted. All of them have only letters, digits and `_.-`: nothing in them means anything to a shell.

use std::ffi::OsString;

use clap_complete::Shell;

use crate::front::cli::output::Answer;
use crate::front::cli::surroundings::Surroundings;
use crate::ops::network::names_there;
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
    let lines = |names: Vec<String>| names.into_iter().map(|name| name + "\n").collect::<String>();
    match command {
        "networks" => {
            let names = names_there().into_iter().map(|name| name.as_str().to_owned());
            return Ok(Answer::text(lines(names.collect())));
        }
        "profiles" => {
            let listed = Surroundings::of_process().library().list().unwrap_or_default();
            let usable = listed.into_iter().filter(|profile| profile.problem.is_none());
            return Ok(Answer::text(lines(usable.map(|profile| profile.name).collect())));
        }
        _ => {}
    }
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
    local word=${{COMP_WORDS[COMP_CWORD]}} before=${{COMP_WORDS[COMP_CWORD-1]}} mode= command=
    if [[ ${{COMP_WORDS[1]}} == @(run|shell) ]]; then
        if [[ $before == --continue ]]; then
            COMPREPLY=($(compgen -W "$(command bryo __complete start 2>/dev/null)" -- "$word"))
            return
        elif [[ $before == --profile ]]; then
            COMPREPLY=($(compgen -W "$(command bryo __complete profiles 2>/dev/null)" -- "$word") "${{COMPREPLY[@]}}")
            return
        elif [[ $before == --@(network|net) ]]; then
            COMPREPLY+=($(compgen -W "$(compgen -P sandbox: -W "$(command bryo __complete exec 2>/dev/null)")
                $(compgen -P bridge: -W "$(command bryo __complete networks 2>/dev/null)")" -- "$word"))
            return
        fi
        # A colon is a word of its own.
        [[ $word == : ]] && mode=$before || {{ [[ $before == : ]] && mode=${{COMP_WORDS[COMP_CWORD-2]}}; }}
        case $mode in
            sandbox) command=exec ;;
            bridge) command=networks ;;
        esac
        if [[ -n $command && " ${{COMP_WORDS[*]}}" == *" --"@(network|net)" $mode :"* ]]; then
            COMPREPLY=($(compgen -W "$(command bryo __complete $command 2>/dev/null)" -- "${{word#:}}"))
            return
        fi
    elif [[ ${{COMP_WORDS[1]}} == network && ${{COMP_WORDS[2]}} == @(rm|remove|inspect) && COMP_CWORD -gt 2 ||
        ${{COMP_WORDS[1]}} == network && ${{COMP_WORDS[2]}} == @(connect|disconnect) && COMP_CWORD -eq 3 ]]; then
        COMPREPLY+=($(compgen -W "$(command bryo __complete networks 2>/dev/null)" -- "$word"))
        return
    elif [[ ${{COMP_WORDS[1]}} == profile && ${{COMP_WORDS[2]}} == @(show|check) && COMP_CWORD -gt 2 ]]; then
        COMPREPLY=($(compgen -W "$(command bryo __complete profiles 2>/dev/null)" -- "$word") "${{COMPREPLY[@]}}")
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
        } else if line.contains("'--profile=[") {
            line.replace(":_files'", ":_bryo_profiles'") + "\n"
        } else if line.contains(":network -- Which") {
            line.replace(":_default'", ":_bryo_nets'") + "\n"
        } else if line.contains("'--continue=[") {
            line.replace(":_default'", ":_bryo_ended'") + "\n"
        } else if line.contains(":sandbox -- ") {
            line.replace(":_default'", ":_bryo_sandboxes'") + "\n"
        } else {
            format!("{line}\n")
        }
    };
    let (head, rest) = script.split_once('\n').unwrap_or((script, ""));
    [format!("{head}\n{ZSH}")].into_iter().chain(rest.lines().map(line)).collect()
}

/// What the lines above call, in zsh.
const ZSH: &str = r#"
_bryo_sandboxes() {
    local -a found
    found=(${(f)"$(command bryo __complete ${words[1]} 2>/dev/null)"})
    compadd -a found
}

_bryo_ended() {
    local -a found
    found=(${(f)"$(command bryo __complete start 2>/dev/null)"})
    compadd -a found
}

_bryo_nets() {
    local -a found
    found=(${(f)"$(command bryo __complete networks 2>/dev/null)"})
    compadd -a found
}

_bryo_profiles() {
    local -a found
    found=(${(f)"$(command bryo __complete profiles 2>/dev/null)"})
    compadd -a found
    _files
}

_bryo_networks() {
    local -a found nets
    found=(${(f)"$(command bryo __complete exec 2>/dev/null)"})
    nets=(${(f)"$(command bryo __complete networks 2>/dev/null)"})
    found=("$@" sandbox:${^found} bridge:${^nets})
    compadd -a found
}
"#;

/// Of flags, in fish.
const FLAGS: &str = r#"complete -c bryo -n "__fish_seen_subcommand_from run shell" -l continue -x -a "(command bryo __complete start 2>/dev/null)"
complete -c bryo -n "__fish_seen_subcommand_from run shell" -l network -x -a "(command bryo __complete exec 2>/dev/null | string replace -r '^' sandbox:)"
complete -c bryo -n "__fish_seen_subcommand_from run shell" -l network -x -a "(command bryo __complete networks 2>/dev/null | string replace -r '^' bridge:)"
complete -c bryo -n "__fish_seen_subcommand_from run shell" -l profile -r -a "(command bryo __complete profiles 2>/dev/null)"
complete -c bryo -n "__fish_seen_subcommand_from network; and __fish_seen_subcommand_from rm remove inspect connect disconnect" -f -a "(command bryo __complete networks 2>/dev/null)"
complete -c bryo -n "__fish_seen_subcommand_from profile; and __fish_seen_subcommand_from show check" -a "(command bryo __complete profiles 2>/dev/null)"
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
