//! `evergreen keys`: seal keys.

use secrecy::{ExposeSecret, SecretString};
use serde_json::json;

use super::failure::{Ended, Exit, Failure};
use super::ui::Ui;
use crate::vault::KeyRing;

/// Seal keys: what the stored credentials are encrypted with.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Makes a new seal key and prints it as id:base64 on the last line
    ///
    /// Put it in front of the others in EVERGREEN_SEAL_KEYS: the first key seals, all of them open.
    /// Nothing is stored here; whoever loses the key loses every credential sealed with it.
    #[command(after_help = "Example:\n  \
        export EVERGREEN_SEAL_KEYS=\"$(evergreen keys generate | tail -n 1)\"")]
    Generate,
}

pub(super) fn run(args: &Args, ui: &mut Ui) -> Ended {
    match args.verb {
        Verb::Generate => generate(ui),
    }
}

fn generate(ui: &mut Ui) -> Ended {
    let key =
        KeyRing::generate().map_err(|e| Failure::of(Exit::Failed, "making a seal key", &e))?;
    let text = key.printable.expose_secret();
    let line = if ui.json {
        format!("{}\n", json!({ "id": key.id, "key": text }))
    } else {
        ui.note(
            "A new seal key. Keep it secret, and keep it: credentials sealed with it are lost \
             without it.",
        );
        format!("{text}\n")
    };
    ui.hand_over(&SecretString::from(line))?;
    Ok(Exit::Ok)
}

#[cfg(test)]
mod tests {
    use super::super::ui::Kept;
    use super::*;

    #[test]
    fn the_last_line_is_a_ring() {
        let (out, err) = (Kept::default(), Kept::default());
        let mut ui = Ui::for_test(false, out.clone(), err.clone());
        assert_eq!(generate(&mut ui), Ok(Exit::Ok));
        let text = out.text();
        let last = text.lines().last().unwrap();
        assert_eq!(
            KeyRing::parse(last).unwrap().current(),
            last.split(':').next().unwrap()
        );
        assert!(!err.text().contains(last));

        let out = Kept::default();
        let mut ui = Ui::for_test(true, out.clone(), Kept::default());
        generate(&mut ui).unwrap();
        let json = out.json();
        KeyRing::parse(json["key"].as_str().unwrap()).unwrap();
    }
}
