//! `evergreen doctor`: everything that must be right for a fleet, looked at where it runs.
//!
//! | file | holds |
//! |---|---|
//! | `mod.rs` | the order of the looks, and how they are told |
//! | `checks.rs` | what each look finds means, as a function of what was found |
//! | `disk.rs` | the journal's directory |
//! | `outbox.rs` | what webhooks have not delivered |
//! | `seal_keys.rs` | what opens what, and who has which ring |

mod checks;
mod disk;
mod outbox;
mod seal_keys;

use std::sync::Arc;

use evergreen_engine::store::redis::RedisOptions;
use serde::Serialize;

use super::failure::{Ended, Exit, chain};
use super::fleet;
use super::ui::Ui;
use crate::api::KeyStore;
use crate::config::{Config, Role, SettingFlags};
use crate::service::App;

/// Pairs that are opened to see whether the seal keys fit.
const PAIRS: usize = 20;
/// Hosts of the provider that are reached for.
const HOSTS: usize = 10;

/// Looks at everything that must be right, and says what to do where it is not.
///
/// It reads the settings that the fleet has, so run it where the fleet runs, as the user that it runs
/// as. It changes nothing, but for entries in the index of timers that are wrong: those it puts right.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exit codes: 0 nothing is wrong (warnings may be told), 4 somebody must act, \
    5 Redis or NinjaOne cannot be reached.\n\n\
    Example:\n  export EVERGREEN_REDIS_URL=redis://127.0.0.1:6379\n  \
    export EVERGREEN_SEAL_KEYS_FILE=/etc/evergreen/seal-keys\n  evergreen doctor"
)]
pub(crate) struct Args {
    #[command(flatten)]
    settings: SettingFlags,
}

/// How a look ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Verdict {
    Ok,
    Warn,
    Fail,
}

/// One look.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Check {
    /// What was looked at, as a stable word.
    check: &'static str,
    result: Verdict,
    /// What was found.
    says: String,
    /// What to do.
    help: Option<String>,
    /// Something outside cannot be reached: it may be there later.
    #[serde(skip)]
    away: bool,
}

impl Check {
    fn new(check: &'static str, result: Verdict, says: impl Into<String>) -> Self {
        Self {
            check,
            result,
            says: says.into(),
            help: None,
            away: false,
        }
    }

    fn ok(check: &'static str, says: impl Into<String>) -> Self {
        Self::new(check, Verdict::Ok, says)
    }

    fn warn(check: &'static str, says: impl Into<String>, help: impl Into<String>) -> Self {
        Self::new(check, Verdict::Warn, says).help(help)
    }

    fn fail(check: &'static str, says: impl Into<String>, help: impl Into<String>) -> Self {
        Self::new(check, Verdict::Fail, says).help(help)
    }

    fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    fn away(mut self) -> Self {
        self.away = true;
        self
    }
}

pub(super) async fn run(args: Args, ui: &mut Ui) -> Ended {
    // It tells each thing itself, once; the log of a server would tell some of it before.
    let config = fleet::quiet_settings(&args.settings, Role::Worker)?;
    let mut told = Vec::new();
    look(config, &mut told).await;
    show(&told, ui)?;
    let failed: Vec<&Check> = told
        .iter()
        .filter(|check| check.result == Verdict::Fail)
        .collect();
    Ok(if failed.is_empty() {
        Exit::Ok
    } else if failed.iter().all(|check| check.away) {
        Exit::Unavailable
    } else {
        Exit::Attention
    })
}

/// All looks, in the order in which what is wrong explains what comes after it.
async fn look(mut config: Config, told: &mut Vec<Check>) {
    told.push(checks::settings(&config.warnings, config.client.is_some()));
    let keys: Vec<String> = config.ring.ids().map(str::to_owned).collect();
    if let Some(directory) = &config.journal_dir {
        told.extend(disk::journal(directory, &keys));
    }
    let Some(wanted) = config.store.clone() else {
        return;
    };
    // A key space is made by `migrate` or a worker, not by who looks.
    let options = RedisOptions {
        create: false,
        ..wanted.options()
    };
    let found = match fleet::look_at_redis(options).await {
        Ok(found) => found,
        Err(failure) => {
            let away = failure.exit == Exit::Unavailable;
            let help = failure.help.clone();
            let help = help.unwrap_or_else(|| "do as it says, then run this again".to_owned());
            let check = Check::fail("redis", failure.why, help);
            told.push(if away { check.away() } else { check });
            return;
        }
    };
    told.push(checks::redis(&found.place, &found.meta, wanted.replicas));
    told.extend(found.warnings.iter().map(|warning| checks::odd(warning)));
    let api_keys = KeyStore::new(Arc::clone(&found.store)).list().await;
    if config.api_keys_file.is_none() {
        told.extend(api_keys.ok().map(|keys| checks::api_keys(&keys)));
    }
    // It neither works nor adopts what others left on this disk.
    config.journal_dir = None;
    let webhooks = config.webhook.is_some();
    let nowhere = ([127, 0, 0, 1], 0).into();
    let app = match fleet::app(config, nowhere, found.store, found.meta.salt) {
        Ok(app) => app,
        Err(failure) => {
            told.push(Check::fail("start", failure.why, "correct that setting"));
            return;
        }
    };
    if let Err(error) = ask(&app, webhooks, told).await {
        let check = Check::fail(
            "redis",
            chain(&error),
            "check that Redis runs, and the way to it",
        );
        told.push(check.away());
    }
}

async fn ask(
    app: &App,
    webhooks: bool,
    told: &mut Vec<Check>,
) -> Result<(), crate::service::ServiceError> {
    told.push(checks::clock(app.clock_skew_s().await?));
    let fleet = app.fleet(None).await?;
    told.push(checks::workers(&fleet));
    told.push(checks::overdue(&fleet));
    told.push(checks::index(app.compare_index().await?));
    told.extend(checks::grants(&fleet));
    told.extend(outbox::webhooks(webhooks, &app.webhook_progress().await?));
    told.push(seal_keys::seal_keys(&app.open_some(PAIRS).await?));
    told.extend(fleet.hosts.iter().filter_map(checks::held_back));
    told.push(seal_keys::rings(
        app.first_seal_key(),
        &app.told_keys().await?,
    ));
    for instance in fleet.instances.iter().take(HOSTS) {
        told.push(checks::host(instance, app.reach(instance).await));
    }
    Ok(())
}

fn show(told: &[Check], ui: &mut Ui) -> Result<(), super::failure::Failure> {
    let count = |wanted| told.iter().filter(|check| check.result == wanted).count();
    let (ok, warn, fail) = (
        count(Verdict::Ok),
        count(Verdict::Warn),
        count(Verdict::Fail),
    );
    if ui.json {
        let told = serde_json::json!({ "checks": told, "ok": ok, "warn": warn, "fail": fail });
        return ui.document(&told);
    }
    let mut lines = Vec::new();
    for check in told {
        let word = match check.result {
            Verdict::Ok => "ok",
            Verdict::Warn => "warn",
            Verdict::Fail => "FAIL",
        };
        lines.push(format!("{word:<6}{:<13}{}", check.check, check.says));
        if let Some(help) = &check.help {
            lines.push(format!("{:<6}{:<13}→ {help}", "", ""));
        }
    }
    lines.push(String::new());
    lines.push(match (warn, fail) {
        (0, 0) => format!("all {ok} looks found nothing wrong"),
        (1, fail) => format!("{ok} ok, 1 warning, {fail} failed"),
        (warn, fail) => format!("{ok} ok, {warn} warnings, {fail} failed"),
    });
    ui.say(&lines.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::super::ui::Kept;
    use super::*;

    #[test]
    fn each_look_is_a_line_and_what_to_do_stands_below() {
        let told = [
            Check::ok("redis", "it answers"),
            Check::fail("workers", "none is alive", "start one: evergreen worker"),
        ];
        let (out, json_out) = (Kept::default(), Kept::default());
        show(
            &told,
            &mut Ui::for_test(false, out.clone(), Kept::default()),
        )
        .unwrap();
        assert_eq!(
            out.text(),
            "ok    redis        it answers
FAIL  workers      none is alive
                   → start one: evergreen worker

1 ok, 0 warnings, 1 failed
"
        );
        show(
            &told,
            &mut Ui::for_test(true, json_out.clone(), Kept::default()),
        )
        .unwrap();
        let told = json_out.json();
        assert_eq!(told["fail"], 1);
        assert_eq!(told["checks"][1]["result"], "fail");
        assert_eq!(told["checks"][0]["help"], serde_json::Value::Null);
    }
}
