//! `evergreen completions`: what a shell needs to complete commands.

use clap::CommandFactory as _;
use clap_complete::Shell;

use super::Cli;
use super::failure::{Ended, Exit, Failure};
use super::ui::Ui;

/// Prints the completions for a shell.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  source <(evergreen completions bash)\n  \
    evergreen completions fish > ~/.config/fish/completions/evergreen.fish")]
pub(crate) struct Args {
    /// Which shell
    #[arg(value_enum, value_name = "SHELL")]
    shell: Shell,
}

pub(super) fn run(args: &Args, ui: &mut Ui) -> Ended {
    let mut text = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "evergreen", &mut text);
    let text = String::from_utf8(text)
        .map_err(|e| Failure::new(Exit::Failed, "writing completions", e))?;
    ui.say(&text)?;
    Ok(Exit::Ok)
}
