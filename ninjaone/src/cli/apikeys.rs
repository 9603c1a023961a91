//! `evergreen apikeys`: who may call the API.
//!
//! Where `EVERGREEN_REDIS_URL` is set these work on Redis itself, because the first key cannot be
//! made with a key; elsewhere they ask the API as every other command does.

use std::path::Path;
use std::sync::Arc;

use evergreen_engine::store::Store;
use evergreen_engine::store::redis::RedisStore;
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;

use super::client::Api;
use super::client::bodies::{ListedKey, ListedKeys, MadeKey, NewKey};
use super::failure::{Ended, Exit, Failure};
use super::ui::Ui;
use super::{service_failure, settings_failure, store_failure, table};
use crate::api::{KeyStore, Scope};
use crate::config::{self, Sources};

/// API keys: who may call the server.
///
/// Where EVERGREEN_REDIS_URL is set, these commands work on that Redis: so the first key is made
/// where the fleet runs. Elsewhere they ask the server at EVERGREEN_URL with an admin key.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Makes a key and prints it, this once
    ///
    /// Scopes: read sees integrations and events; token takes tokens; admin changes integrations
    /// and keys, and sees what read sees.
    #[command(
        after_help = "Examples:\n  evergreen apikeys create --name ops --scope admin\n  \
        evergreen apikeys create --name psa --scope read --scope token --tenant acme --json"
    )]
    Create {
        /// What to call it
        #[arg(long, value_name = "NAME")]
        name: String,
        /// What it may do; may be repeated
        #[arg(long = "scope", value_enum, value_name = "SCOPE", required = true)]
        scopes: Vec<Scope>,
        /// Bind it to one tenant
        #[arg(long, value_name = "TENANT")]
        tenant: Option<String>,
    },
    /// Lists the keys, without the keys themselves
    #[command(after_help = "Example:\n  evergreen apikeys list")]
    List,
    /// Revokes a key; within five seconds nobody accepts it
    #[command(after_help = "Example:\n  evergreen apikeys revoke key_0123456789ab")]
    Revoke {
        /// The key's id, as `apikeys list` shows it
        #[arg(value_name = "KEY_ID", value_parser = key_id)]
        id: String,
    },
}

/// An id goes into a path, so it is held to the letters that ids have.
fn key_id(text: &str) -> Result<String, &'static str> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.');
    if text.starts_with(crate::vault::apikey::PREFIX) {
        return Err(
            "that is a key, and keys do not belong on the command line; \
            its id is shown by `evergreen apikeys list`",
        );
    }
    if (1..=100).contains(&text.len()) && text.bytes().all(plain) && !text.starts_with('.') {
        Ok(text.to_owned())
    } else {
        Err("an id is shown by `evergreen apikeys list`, such as key_0123456789ab")
    }
}

/// Where the keys are.
enum Keys {
    Here(KeyStore),
    There(Api),
}

pub(super) async fn run(args: Args, ui: &mut Ui) -> Ended {
    let keys = if std::env::var_os("EVERGREEN_REDIS_URL").is_some() {
        Keys::Here(on_redis().await?)
    } else {
        Keys::There(Api::of_process()?)
    };
    carry_out(args.verb, &keys, ui).await
}

async fn on_redis() -> Result<KeyStore, Failure> {
    let doing = "reading the settings";
    let sources = Sources::of_process(std::collections::BTreeMap::new(), None::<&Path>)
        .map_err(|e| Failure::of(Exit::Usage, doing, &e))?;
    let store = config::load_store(&sources).map_err(|e| settings_failure(&e))?;
    let store = RedisStore::connect(store.options())
        .await
        .map_err(|e| store_failure("connecting to Redis", &e))?;
    let store: Arc<dyn Store> = Arc::new(store);
    Ok(KeyStore::new(store))
}

async fn carry_out(verb: Verb, keys: &Keys, ui: &mut Ui) -> Ended {
    match verb {
        Verb::Create {
            name,
            scopes,
            tenant,
        } => {
            let made = create(keys, name, &scopes, tenant).await?;
            show_made(&made, ui)?;
        }
        Verb::List => {
            let listed = list(keys).await?;
            show(&listed, ui)?;
        }
        Verb::Revoke { id } => {
            revoke(keys, &id).await?;
            if ui.json {
                ui.document(&json!({ "revoked": id }))?;
            } else {
                ui.say(&format!(
                    "{id} is revoked; within five seconds nobody accepts it"
                ))?;
            }
        }
    }
    Ok(Exit::Ok)
}

async fn create(
    keys: &Keys,
    name: String,
    scopes: &[Scope],
    tenant: Option<String>,
) -> Result<MadeKey, Failure> {
    let tenants = tenant.map(|tenant| vec![tenant]);
    match keys {
        Keys::Here(keys) => {
            let made = keys.create(&name, scopes, tenants.as_deref()).await;
            let made = made.map_err(|e| service_failure("making an API key", &e))?;
            Ok(MadeKey {
                id: made.id,
                key: made.key,
            })
        }
        Keys::There(api) => {
            let scopes = scopes
                .iter()
                .map(|scope| scope.as_str().to_owned())
                .collect();
            let key = NewKey {
                name,
                scopes,
                tenants,
            };
            api.make_key(&key).await
        }
    }
}

async fn list(keys: &Keys) -> Result<ListedKeys, Failure> {
    match keys {
        Keys::Here(keys) => {
            let all = keys.list().await;
            let all = all.map_err(|e| service_failure("listing API keys", &e))?;
            let shown = all.into_iter().map(|key| ListedKey {
                id: key.id,
                name: key.name,
                scopes: key.scopes.iter().map(ToString::to_string).collect(),
                tenants: key.tenants,
                created_at: key.created_at,
            });
            Ok(ListedKeys {
                keys: shown.collect(),
            })
        }
        Keys::There(api) => api.keys().await,
    }
}

async fn revoke(keys: &Keys, id: &str) -> Result<(), Failure> {
    let doing = "revoking an API key";
    match keys {
        Keys::Here(keys) => match keys.revoke(id).await {
            Ok(true) => Ok(()),
            Ok(false) => {
                let missing = Failure::new(Exit::NotFound, doing, "there is no such key");
                Err(missing.help("evergreen apikeys list shows their ids"))
            }
            Err(e) => Err(service_failure(doing, &e)),
        },
        Keys::There(api) => api.revoke_key(id).await,
    }
}

fn show_made(made: &MadeKey, ui: &mut Ui) -> Result<(), Failure> {
    let key = made.key.expose_secret();
    let text = if ui.json {
        format!("{}\n", json!({ "id": made.id, "key": key }))
    } else {
        ui.note(&format!(
            "{} is made. This is the only time that the key is shown:",
            made.id
        ));
        format!("{key}\n")
    };
    ui.hand_over(&SecretString::from(text))
}

fn show(listed: &ListedKeys, ui: &mut Ui) -> Result<(), Failure> {
    if ui.json {
        return ui.document(listed);
    }
    if listed.keys.is_empty() {
        return ui.say("no API keys yet; evergreen apikeys create --name NAME --scope admin");
    }
    let mut table = table::table(ui, &["ID", "NAME", "SCOPES", "TENANTS", "CREATED"]);
    for key in &listed.keys {
        let tenants = key.tenants.as_ref().map(|all| all.join(" "));
        let created = key.created_at.as_deref().map(crate::when::exact);
        table.add_row([
            key.id.clone(),
            key.name.clone(),
            key.scopes.join(" "),
            tenants.unwrap_or_else(|| "all".to_owned()),
            created.unwrap_or_else(|| "-".to_owned()),
        ]);
    }
    ui.say(&table::text(&table))
}

#[cfg(test)]
mod tests {
    use evergreen_engine::store::memory::MemoryStore;

    use super::super::client::stub::Stub;
    use super::super::ui::Kept;
    use super::*;

    fn new_key() -> Verb {
        Verb::Create {
            name: "psa".to_owned(),
            scopes: vec![Scope::Read, Scope::Token],
            tenant: Some("acme".to_owned()),
        }
    }

    #[tokio::test]
    async fn on_the_store_itself_a_key_is_made_listed_and_revoked() {
        let keys = Keys::Here(KeyStore::new(Arc::new(MemoryStore::new())));
        let out = Kept::default();
        let mut ui = Ui::for_test(true, out.clone(), Kept::default());
        carry_out(new_key(), &keys, &mut ui).await.unwrap();
        let made = out.json();
        assert!(made["key"].as_str().unwrap().starts_with("eg_"));

        let out = Kept::default();
        let mut ui = Ui::for_test(false, out.clone(), Kept::default());
        carry_out(Verb::List, &keys, &mut ui).await.unwrap();
        let text = out.text();
        assert!(text.contains("psa   read token  acme"), "{text}");
        assert!(!text.contains(made["key"].as_str().unwrap()));

        let id = made["id"].as_str().unwrap().to_owned();
        let gone = |id: &str| Verb::Revoke { id: id.to_owned() };
        carry_out(gone(&id), &keys, &mut ui).await.unwrap();
        let failure = carry_out(gone(&id), &keys, &mut ui).await.unwrap_err();
        assert_eq!(failure.exit, Exit::NotFound);
    }

    #[tokio::test]
    async fn elsewhere_the_api_is_asked_and_the_key_goes_to_standard_output_alone() {
        let answer = json!({"id": "key_1", "key": "eg_CANARY"});
        let stub = Stub::answering(&[(201, answer)]).await;
        let (out, err) = (Kept::default(), Kept::default());
        let mut ui = Ui::for_test(false, out.clone(), err.clone());
        let keys = Keys::There(stub.api.clone());
        carry_out(new_key(), &keys, &mut ui).await.unwrap();
        assert_eq!(out.text(), "eg_CANARY\n");
        assert!(err.text().contains("key_1") && !err.text().contains("CANARY"));
        let seen = stub.seen();
        assert_eq!(seen[0].line, "POST /v1/apikeys");
        let body = json!({"name": "psa", "scopes": ["read", "token"], "tenants": ["acme"]});
        assert_eq!(seen[0].body, body);
    }

    #[test]
    fn an_id_cannot_lead_elsewhere_and_a_key_is_not_one() {
        assert!(key_id("key_0123456789ab").is_ok());
        for wrong in ["", "../integrations", "a/b", "a?b", ".."] {
            assert!(key_id(wrong).is_err(), "{wrong}");
        }
        let told = key_id("eg_CANARY").unwrap_err();
        assert!(told.contains("do not belong on the command line"));
    }
}
