//! Who is the master, as the Sentinels know it.
//!
//! One Sentinel alone may be cut off together with a master that was replaced long ago, and after a
//! failover those that did not lead it hear of it a little later. So all are asked at once, and among
//! what they say the highest configuration epoch counts, which is how they decide among themselves.
//! The one that leads a failover has the new epoch as soon as the new master is promoted, but goes on to
//! describe the old one until the other replicas have turned to it, which may be minutes; only where it is asked
//! for the address alone does it tell the new one. So it is asked for both.
//! Once a majority has answered, the others are waited for only a moment longer. Where fewer answer,
//! these are believed: a fleet should not stop because Sentinels did. The server is then asked itself, and is used only if it
//! says that it is a master.

use std::collections::BTreeMap;
use std::time::Duration;

use deadpool_redis::redis::aio::MultiplexedConnection;
use deadpool_redis::redis::{AsyncConnectionConfig, Client, RedisResult, pipe};
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::address::{Address, Login};
use super::endpoint::Endpoint;
use super::errors::Fault;
use super::options::RedisOptions;

/// How long the others are waited for once a majority has answered.
const GRACE: Duration = Duration::from_millis(100);

/// Those that were named.
pub(super) struct Sentinels {
    master: String,
    all: Vec<Sentinel>,
}

struct Sentinel {
    at: Endpoint,
    client: Client,
    config: AsyncConnectionConfig,
    /// Kept between two questions.
    connection: Mutex<Option<MultiplexedConnection>>,
}

/// What one says.
struct Opinion {
    epoch: u64,
    master: Endpoint,
}

/// What one knows of the master, and where it says that the master is.
type Told = (BTreeMap<String, String>, Option<(String, String)>);

impl Sentinels {
    pub(super) fn new(
        master: &str,
        hosts: &[Endpoint],
        (login, tls): (&Login, bool),
        options: &RedisOptions,
    ) -> Result<Self, Fault> {
        // Half of what an operation has: what is left is for the server.
        let limit = options.reply_timeout / 2;
        let sentinel = |at: &Endpoint| {
            Ok(Sentinel {
                at: at.clone(),
                client: Client::open(Address::sentinel(at, login, tls)?)?,
                config: AsyncConnectionConfig::new()
                    .set_connection_timeout(Some(limit))
                    .set_response_timeout(Some(limit)),
                connection: Mutex::new(None),
            })
        };
        Ok(Self {
            master: master.to_owned(),
            all: hosts.iter().map(sentinel).collect::<Result<_, Fault>>()?,
        })
    }

    /// Where the master is.
    pub(super) async fn master(&self) -> Result<Endpoint, Fault> {
        let mut asked: FuturesUnordered<_> = self.all.iter().map(|s| s.ask(&self.master)).collect();
        let majority = self.all.len() / 2 + 1;
        let (mut opinions, mut why) = (Vec::new(), None);
        let mut until = None;
        loop {
            let next = match until {
                Some(until) => tokio::time::timeout_at(until, asked.next()).await,
                None => Ok(asked.next().await),
            };
            match next {
                Ok(Some(Ok(opinion))) => opinions.push(opinion),
                Ok(Some(Err(fault))) => why = Some(fault),
                Ok(None) | Err(_) => break,
            }
            if opinions.len() >= majority {
                until.get_or_insert_with(|| Instant::now() + GRACE);
            }
        }
        let best = opinions.into_iter().max_by_key(|opinion| opinion.epoch);
        match (best, why) {
            (Some(best), _) => Ok(best.master),
            (None, Some(fault)) => Err(fault),
            (None, None) => Err(Fault::Refused("no Sentinel was named".to_owned())),
        }
    }
}

impl Sentinel {
    async fn ask(&self, name: &str) -> Result<Opinion, Fault> {
        let told = self.ask_as_it_is(name).await.map_err(|error| {
            let unknown = error.to_string().contains("No such master");
            let at = &self.at;
            match error.clone().into_server_errors() {
                Some(_) if unknown => Fault::Refused(format!(
                    "the Sentinel {at} knows no master named {name}: set master= in the URL to the \
                     name in its `sentinel monitor`"
                )),
                // It is busy starting, or lets nobody in that has no password.
                Some(_) => Fault::Refused(format!("the Sentinel {at}: {error}")),
                None => Fault::Away(format!("the Sentinel {at}: {error}")),
            }
        })?;
        let (about, place) = told;
        let epoch = about
            .get("config-epoch")
            .and_then(|epoch| epoch.parse().ok());
        let place = place.map(|(host, port)| format!("{host}:{port}"));
        let master = place.and_then(|place| Endpoint::told_by(&place, &self.at.host));
        let strange = || Fault::Away(format!("the Sentinel {} names no master", self.at));
        Ok(Opinion {
            epoch: epoch.unwrap_or(0),
            master: master.ok_or_else(strange)?,
        })
    }

    async fn ask_as_it_is(&self, name: &str) -> RedisResult<Told> {
        let mut kept = self.connection.lock().await;
        // Taken out, so that a connection whose answer nobody waited for is not used again.
        let mut connection = match kept.take() {
            Some(connection) => connection,
            None => {
                let config = &self.config;
                let connecting = self
                    .client
                    .get_multiplexed_async_connection_with_config(config);
                connecting.await?
            }
        };
        // In this order: if it learns something between the two, it is the address that is newer.
        let mut questions = pipe();
        questions.cmd("SENTINEL").arg("MASTER").arg(name);
        questions
            .cmd("SENTINEL")
            .arg("GET-MASTER-ADDR-BY-NAME")
            .arg(name);
        let told = questions.query_async(&mut connection).await?;
        *kept = Some(connection);
        Ok(told)
    }
}
