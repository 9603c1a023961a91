//! Which client app an Alga tenant uses. Alga looks up id and secret one by one and so can mix two
//! apps; here both come from one level, the tenant's or the application's.

use std::path::{Path, PathBuf};

use secrecy::SecretString;

use crate::import::MAX_BYTES;
use crate::import::candidate::Fault;
use crate::import::file::{self, Problem};
use crate::import::members;

const ID: &str = "ninjaone_client_id";
const SECRET: &str = "ninjaone_client_secret";

/// A folder that may hold the two files.
pub(super) struct Level<'a> {
    base: &'a Path,
    folder: PathBuf,
}

/// The client app of one tenant, as far as the directory knows it.
#[derive(Default)]
pub(super) struct Pair {
    pub(super) id: Option<String>,
    pub(super) secret: Option<SecretString>,
    pub(super) warning: Option<&'static str>,
}

impl<'a> Level<'a> {
    pub(super) fn new(base: &'a Path, folder: PathBuf) -> Self {
        Self { base, folder }
    }

    fn pair(&self) -> Result<Pair, Fault> {
        Ok(Pair {
            id: self.text(ID)?,
            secret: self.text(SECRET)?.map(SecretString::from),
            warning: None,
        })
    }

    /// The trimmed content; an empty file is a placeholder and counts as absent.
    fn text(&self, name: &'static str) -> Result<Option<String>, Fault> {
        let bytes = match file::read_inside(self.base, &self.folder.join(name), MAX_BYTES) {
            Ok(bytes) => bytes,
            Err(Problem::Missing) => return Ok(None),
            Err(problem) => return Err(Fault::new(name, problem.to_string())),
        };
        let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&bytes);
        let text = std::str::from_utf8(bytes).map_err(|_| Fault::new(name, "is not UTF-8"))?;
        members::clean(text.to_owned(), name)
    }
}

/// The tenant's pair if it is whole, else the application's if that is, else an id without secret.
pub(super) fn resolve(tenant: &Level<'_>, application: &Level<'_>) -> Result<Pair, Fault> {
    let own = tenant.pair()?;
    if own.id.is_some() && own.secret.is_some() {
        return Ok(own);
    }
    let half = own.id.is_some() || own.secret.is_some();
    let shared = application.pair()?;
    if shared.id.is_some() && shared.secret.is_some() {
        let warning = "the tenant has only one half of a client: the application's was taken";
        return Ok(Pair {
            warning: half.then_some(warning),
            ..shared
        });
    }
    let stray = own.secret.is_some() || shared.secret.is_some();
    let id = own.id.or(shared.id);
    Ok(Pair {
        warning: match (&id, stray) {
            (Some(_), true) => Some("client id and secret are of two levels: only the id taken"),
            (Some(_), false) => Some("a client id without a secret"),
            (None, true) => Some("a client secret without an id: not taken"),
            (None, false) => None,
        },
        id,
        secret: None,
    })
}
