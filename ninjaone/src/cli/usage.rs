//! A command line that cannot be understood, told as every other failure under `--json`.

use std::ffi::{OsStr, OsString};
use std::process::ExitCode;

use clap::error::ErrorKind;

use super::failure::Failure;
use super::ui::Ui;

/// Tells what is wrong with the command line, or shows the help or the version that it asked for.
pub(super) fn tell(error: &clap::Error, ui: &mut Ui) -> ExitCode {
    let asked = matches!(
        error.kind(),
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion
    );
    if ui.json && !asked {
        ui.fail(&failure(error));
    } else {
        // Whoever read our output has gone away, which is nobody's fault.
        let _ = error.print();
    }
    u8::try_from(error.exit_code()).map_or(ExitCode::FAILURE, ExitCode::from)
}

/// Whether JSON is asked for, on a command line that could not be read to its end. What stands behind
/// `--` is a child's.
pub(super) fn wants_json(arguments: impl IntoIterator<Item = OsString>) -> bool {
    let ours = |argument: &OsString| argument != OsStr::new("--");
    let mut ours = arguments.into_iter().take_while(ours);
    ours.any(|argument| argument == OsStr::new("--json"))
}

fn failure(error: &clap::Error) -> Failure {
    let doing = "reading the command line";
    if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        return Failure::usage(doing, "no command is given").help("evergreen --help");
    }
    let text = error.to_string();
    let mut why = Vec::new();
    let mut help = Vec::new();
    for paragraph in text.split("\n\n") {
        let line = paragraph.split_whitespace().collect::<Vec<_>>().join(" ");
        if let Some(tip) = line.strip_prefix("tip: ") {
            help.push(tip.to_owned());
        } else if let Some(usage) = line.strip_prefix("Usage: ") {
            help.push(format!("usage: {usage}"));
        } else if !line.starts_with("For more information") {
            why.push(line);
        }
    }
    let why = why.join("; ");
    let failure = Failure::usage(doing, why.strip_prefix("error: ").unwrap_or(&why));
    if help.is_empty() {
        failure.help("evergreen --help")
    } else {
        failure.help(help.join("; "))
    }
}

#[cfg(test)]
mod tests {
    use super::super::ui::Kept;
    use super::super::{command, failure::Exit};
    use super::*;

    fn wrong(words: &[&str]) -> clap::Error {
        let words = std::iter::once("evergreen").chain(words.iter().copied());
        command().try_get_matches_from(words).unwrap_err()
    }

    #[test]
    fn wrong_usage_is_one_object_under_json() {
        for (words, why, help) in [
            (
                &["status", "--json"][..],
                "required arguments were not provided: <ID>",
                "usage: evergreen status",
            ),
            (
                &["lst", "--json"],
                "unrecognized subcommand 'lst'",
                "'list'",
            ),
            (
                &["status", "acme", "--json"],
                "invalid value 'acme' for '<ID>'",
                "evergreen",
            ),
            (&["--json"], "requires a subcommand", "usage: evergreen"),
        ] {
            let (out, err) = (Kept::default(), Kept::default());
            let mut ui = Ui::for_test(true, out.clone(), err.clone());
            let code = tell(&wrong(words), &mut ui);
            assert_eq!(code, ExitCode::from(Exit::Usage.code()));
            assert_eq!(out.text(), "");
            let told = &err.json()["error"];
            assert_eq!(told["exit_code"], 2, "{told}");
            assert!(told["why"].as_str().unwrap().contains(why), "{told}");
            assert!(told["help"].as_str().unwrap().contains(help), "{told}");
            assert!(!told.to_string().contains("\\n"), "{told}");
        }
    }

    #[test]
    fn json_is_asked_for_before_a_childs_arguments_begin() {
        let words = |words: &[&str]| words.iter().map(OsString::from).collect::<Vec<_>>();
        assert!(wants_json(words(&["lst", "--json"])));
        assert!(!wants_json(words(&["exec", "a/b", "--", "x", "--json"])));
        assert!(!wants_json(words(&["lst"])));
    }
}
