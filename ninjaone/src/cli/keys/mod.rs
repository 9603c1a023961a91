//! `evergreen keys`: seal keys.

mod rotate;

use secrecy::{ExposeSecret, SecretString};
use serde_json::json;

use super::failure::{Ended, Exit, Failure};
use super::ui::Ui;
use crate::config::SettingFlags;
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
    /// Has everything sealed anew with the first key of the ring, while the fleet works
    ///
    /// Do this where the fleet runs, with the fleet's ring, once every worker has been restarted with the
    /// new key in front of the old ones. The workers do the work, each grant in a turn of its own; no token
    /// is refreshed by it. When nothing uses an old key any more it says so, and the old key can be taken
    /// out of the rings. Before, it tells what still does. Running it again does no harm.
    #[command(
        after_help = "Exit codes: 0 nothing uses an older key, 4 something still does or a worker lacks the \
        new key, 5 Redis does not answer.\n\n\
        How to rotate:\n  \
        1. evergreen keys generate              a new key\n  \
        2. EVERGREEN_SEAL_KEYS=NEW,OLD          in front, in every environment of the fleet\n  \
        3. restart the workers, one by one      the old key seals until all have the new one\n  \
        4. evergreen keys rotate                where the fleet runs\n  \
        5. EVERGREEN_SEAL_KEYS=NEW              ten minutes later, for consents under way; restart again"
    )]
    Rotate(Box<RotateArgs>),
}

#[derive(Debug, clap::Args)]
struct RotateArgs {
    #[command(flatten)]
    settings: SettingFlags,
}

pub(super) async fn run(args: Args, ui: &mut Ui) -> Ended {
    match args.verb {
        Verb::Generate => generate(ui),
        Verb::Rotate(args) => rotate::run(&args, ui).await,
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
