//! TLS between servers and those who ask them: an authority of one test, and what servers are told of it.

use std::path::{Path, PathBuf};
use std::process::Command;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use tempfile::TempDir;

use crate::redis;

/// An authority, the certificate of this machine that it has signed, and a `redis-server` that can use
/// them.
#[derive(Debug)]
pub struct Tls {
    directory: TempDir,
    program: PathBuf,
}

const AUTHORITY: &str = "authority.pem";
const CERTIFICATE: &str = "server.pem";
const KEY: &str = "server.key";

impl Tls {
    /// Makes both; nobody else trusts this authority. `None` where no `redis-server` is built with TLS, as
    /// the one that `scripts/test` fetches is not: then there is nothing to see, and that is said. Where
    /// `EVERGREEN_TEST_TLS` is set, as in CI, there must be one.
    pub fn where_offered() -> Option<Self> {
        let Some(program) = redis::programs()
            .into_iter()
            .find(|program| speaks_tls(program))
        else {
            let why = "no redis-server with TLS: apt-get install redis-server, or name one in \
                       EVERGREEN_TEST_REDIS_SERVER";
            assert!(std::env::var_os("EVERGREEN_TEST_TLS").is_none(), "{why}");
            println!("not run: {why}");
            return None;
        };
        let mut authority = CertificateParams::default();
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        // Of another name than what it signs: OpenSSL takes one for the other otherwise.
        let name = (DnType::CommonName, "the tests' authority");
        authority.distinguished_name.push(name.0, name.1);
        let key = || KeyPair::generate().expect("a key");
        let authority = CertifiedIssuer::self_signed(authority, key()).expect("an authority");
        let here = CertificateParams::new(["127.0.0.1".to_owned()]).expect("an address");
        let own = key();
        let certificate = here.signed_by(&own, &authority).expect("a certificate");
        let directory = TempDir::with_prefix("evergreen-tls-").expect("a directory");
        for (name, text) in [
            (AUTHORITY, authority.pem()),
            (CERTIFICATE, certificate.pem()),
            (KEY, own.serialize_pem()),
        ] {
            std::fs::write(directory.path().join(name), text).expect("a file");
        }
        Some(Self { directory, program })
    }

    /// The server.
    pub(crate) fn program(&self) -> &Path {
        &self.program
    }

    /// The file that a client is to trust (`SSL_CERT_FILE`).
    pub fn authority(&self) -> PathBuf {
        self.directory.path().join(AUTHORITY)
    }

    /// What a server or a Sentinel is told: it also takes TLS, at this port, and speaks it with its
    /// peers. Nobody has to show a certificate.
    pub(crate) fn settings(&self, port: u16) -> Vec<(&'static str, String)> {
        let file = |name: &str| self.directory.path().join(name).display().to_string();
        vec![
            ("tls-port", port.to_string()),
            ("tls-cert-file", file(CERTIFICATE)),
            ("tls-key-file", file(KEY)),
            ("tls-ca-cert-file", file(AUTHORITY)),
            ("tls-auth-clients", "no".to_owned()),
            ("tls-replication", "yes".to_owned()),
        ]
    }

    /// The same, as arguments of `redis-server`.
    pub(crate) fn arguments(&self, port: u16) -> Vec<String> {
        let told = self.settings(port).into_iter();
        told.flat_map(|(name, value)| [format!("--{name}"), value])
            .collect()
    }
}

/// Whether a server is built with TLS. Without a certificate none starts, and each says what it lacks.
fn speaks_tls(program: &Path) -> bool {
    let asked = Command::new(program)
        .args(["--port", "0", "--tls-port", "1", "--save", ""])
        .output();
    asked.is_ok_and(|said| {
        let said = [said.stdout, said.stderr].concat();
        String::from_utf8_lossy(&said).contains("Failed to configure TLS")
    })
}
