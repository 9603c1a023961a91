//! The ways to one server: a pool for what any connection may do, and single connections that have a
//! task of their own.
//!
//! A server that is stopped answers nothing, and a connection to it looks healthy; so connecting and
//! every reply have a deadline here, and whole operations have one in `ways`.

use std::time::Duration;

use deadpool_redis::redis::aio::{MultiplexedConnection, PubSub};
use deadpool_redis::redis::{
    AsyncConnectionConfig, Client, Cmd, ConnectionInfo, ErrorKind, RedisError, RedisResult,
    ServerErrorKind, Value, cmd,
};
use deadpool_redis::{Connection, Hook, HookError, Manager, Pool, Runtime};

use super::errors::{Fault, Hint};
use super::info::Info;
use super::options::RedisOptions;
use super::scripts::{self, Call};
use super::steady::Steady;

/// Makes connections to one server.
pub(super) struct Connector {
    client: Client,
    config: AsyncConnectionConfig,
    pool: Pool,
    pub(super) steady: Steady,
    master: bool,
    reply_timeout: Duration,
}

/// What one server is asked.
pub(super) enum Ask<'a> {
    Script(&'a Call),
    Command(&'a Cmd),
}

impl Connector {
    /// Reads the options; nothing is connected yet. `master`: no connection is used of which the
    /// server does not say that it is the master's. A replica would answer what once was.
    pub(super) fn new(
        info: ConnectionInfo,
        options: &RedisOptions,
        master: bool,
    ) -> Result<Self, Fault> {
        let limit = options.reply_timeout;
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(limit))
            .set_response_timeout(Some(limit));
        let client = Client::open(info.clone())?;
        let manager = Manager::new_with_config(info, config.clone())?;
        let pool = Pool::builder(manager)
            .max_size(options.pool)
            .runtime(Runtime::Tokio1)
            .wait_timeout(Some(limit))
            .create_timeout(Some(limit))
            .recycle_timeout(Some(limit))
            .post_create(Hook::async_fn(move |connection, _| {
                Box::pin(async move {
                    let welcomed = welcome(connection, "pool", master).await;
                    welcomed.map_err(HookError::Backend)
                })
            }))
            .build()
            .map_err(|error| Fault::Refused(error.to_string()))?;
        Ok(Self {
            client,
            config,
            pool,
            steady: Steady::default(),
            master,
            reply_timeout: limit,
        })
    }

    /// Asks on any connection. `asking`: of a slot that is on its way to this server.
    pub(super) async fn ask(&self, what: &Ask<'_>, asking: bool) -> Result<Value, Fault> {
        let mut connection = self.pool.get().await?;
        let answer = match what {
            Ask::Script(call) => call.on(&mut connection, asking).await,
            Ask::Command(command) => scripts::send(command, &mut connection, asking).await,
        };
        let answer = answer.map_err(Fault::from);
        if matches!(&answer, Err(fault) if fault.hint() == Hint::NotMaster) {
            // Behind a name the master may be another server by now, but who is connected to the old one
            // stays so, and is told for ever that it lives. All others in the pool lead there, too.
            drop(Connection::take(connection));
            self.pool.retain(|_, _| false);
        }
        answer
    }

    /// The server, as people know it.
    pub(super) fn place(&self) -> String {
        self.client.get_connection_info().addr().to_string()
    }

    /// A connection outside the pool.
    pub(super) async fn alone(&self, purpose: &str) -> RedisResult<MultiplexedConnection> {
        let client = &self.client;
        let mut connection = client
            .get_multiplexed_async_connection_with_config(&self.config)
            .await?;
        welcome(&mut connection, purpose, self.master).await?;
        Ok(connection)
    }

    /// A connection that listens to a channel.
    pub(super) async fn listening(&self, channel: &str) -> RedisResult<PubSub> {
        let connect = async {
            let mut listener = self.client.get_async_pubsub().await?;
            listener.subscribe(channel).await?;
            Ok(listener)
        };
        let late = |_| RedisError::from(std::io::Error::from(std::io::ErrorKind::TimedOut));
        tokio::time::timeout(self.reply_timeout, connect)
            .await
            .map_err(late)?
    }
}

/// Gives a connection the name that `CLIENT LIST` shows, and if need be makes sure whose it is. A role
/// that may not set names goes unnamed: the name is for people.
async fn welcome(
    connection: &mut MultiplexedConnection,
    purpose: &str,
    master: bool,
) -> RedisResult<()> {
    let mut command = cmd("CLIENT");
    command.arg("SETNAME").arg(format!("evergreen-{purpose}"));
    match command.exec_async(connection).await {
        Err(error) if error.clone().into_server_errors().is_none() => return Err(error),
        _ => {}
    }
    if master && !Info::ask(connection).await?.is("role", "master") {
        let what = "the server that should be the master is none";
        return Err((ErrorKind::Server(ServerErrorKind::ReadOnly), what).into());
    }
    Ok(())
}
