//! Where events are posted to, and what they are signed with: both, or neither.

use secrecy::ExposeSecret as _;

use super::keys;
use super::reader::Reader;
use super::secrets::secret_file;
use super::sources::Found;
use crate::webhook::{SigningSecrets, WebhookOptions, WebhookUrl};

/// Both settings. An empty one is none at all: that is how orchestrators pass on what is not set.
pub(super) fn webhook(reader: &mut Reader<'_>) -> Option<WebhookOptions> {
    let mut given = |key| reader.found(key).filter(|found| !found.text.is_empty());
    let address = given(keys::WEBHOOK_URL);
    let secret = given(keys::WEBHOOK_SECRET);
    let file = given(keys::WEBHOOK_SECRET_FILE);
    let missing = match (&address, secret.as_ref().or(file.as_ref())) {
        (Some(address), None) => Some((
            keys::WEBHOOK_SECRET.variable(),
            format!(
                "is missing, although {} is given: webhooks are always signed; allowed is {}",
                address.name,
                SigningSecrets::ALLOWED
            ),
        )),
        (None, Some(secret)) => Some((
            keys::WEBHOOK_URL.variable(),
            format!(
                "is missing, although {} is given; allowed is {}",
                secret.name,
                WebhookUrl::ALLOWED
            ),
        )),
        _ => None,
    };
    if let Some((name, wrong)) = missing {
        reader.wrong(name, wrong);
    }
    let url = address.and_then(|found| url(reader, &found));
    let secrets = match (secret, file) {
        (Some(secret), Some(file)) => {
            let wrong = format!("is given beside {}; allowed is one of them", secret.name);
            reader.wrong(file.name, wrong);
            None
        }
        (Some(secret), None) => secrets(reader, &secret.name, &secret.text),
        (None, Some(file)) => match secret_file(&file.text) {
            Ok(text) => secrets(reader, &file.name, text.expose_secret()),
            Err(why) => {
                let wrong = format!("{why}; allowed is a file with {}", SigningSecrets::ALLOWED);
                reader.wrong(file.name, wrong);
                None
            }
        },
        (None, None) => None,
    };
    Some(WebhookOptions {
        url: url?,
        secrets: secrets?,
    })
}

fn url(reader: &mut Reader<'_>, found: &Found) -> Option<WebhookUrl> {
    match WebhookUrl::parse(&found.text) {
        Ok(url) => Some(url),
        Err(why) => {
            let wrong = format!("{why}; allowed is {}", WebhookUrl::ALLOWED);
            reader.wrong(&found.name, wrong);
            None
        }
    }
}

fn secrets(reader: &mut Reader<'_>, name: &str, text: &str) -> Option<SigningSecrets> {
    match SigningSecrets::parse(text) {
        Ok(secrets) => Some(secrets),
        Err(refused) => {
            let wrong = format!("{refused}; allowed is {}", SigningSecrets::ALLOWED);
            reader.wrong(name, wrong);
            None
        }
    }
}
