//! The ways to the server: a pool for what any connection may do, and single connections that have a
//! task of their own.
//!
//! Nothing here waits without a bound. A server that is stopped answers nothing, and a connection to
//! it looks healthy; so every operation has one deadline, which covers waiting for a connection,
//! making one, and the reply.

use std::future::Future;
use std::time::Duration;

use deadpool_redis::redis::aio::{MultiplexedConnection, PubSub};
use deadpool_redis::redis::{
    AsyncConnectionConfig, Client, Cmd, ConnectionAddr, FromRedisValue, Pipeline, RedisError,
    RedisResult, Value, cmd,
};
use deadpool_redis::{Hook, HookError, Manager, Pool, Runtime};

use super::errors::{away, of_call, of_pool, refused};
use super::options::RedisOptions;
use super::scripts::Call;
use crate::store::StoreError;

/// Makes connections.
pub(super) struct Connector {
    client: Client,
    config: AsyncConnectionConfig,
    pool: Pool,
    pub(super) reply_timeout: Duration,
}

impl Connector {
    /// Reads the options; nothing is connected yet.
    pub(super) fn new(options: &RedisOptions) -> Result<Self, StoreError> {
        let info = options.connection_info()?;
        if matches!(info.addr(), ConnectionAddr::TcpTls { .. }) {
            // Without one the first connection would panic. Another may have been installed by the
            // program; it stays.
            let _ = rustls::crypto::ring::default_provider().install_default();
        }
        let doing = || format!("the settings for {}", options.masked_url());
        let limit = options.reply_timeout;
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(limit))
            .set_response_timeout(Some(limit));
        let client = Client::open(info.clone()).map_err(|error| of_call(doing(), &error))?;
        let manager = Manager::new_with_config(info, config.clone())
            .map_err(|error| of_call(doing(), &error))?;
        let pool = Pool::builder(manager)
            .max_size(options.pool)
            .runtime(Runtime::Tokio1)
            .wait_timeout(Some(limit))
            .create_timeout(Some(limit))
            .recycle_timeout(Some(limit))
            .post_create(Hook::async_fn(|connection, _| {
                Box::pin(async move {
                    let named = name(connection, "pool").await;
                    named.map_err(HookError::Backend)
                })
            }))
            .build()
            .map_err(|error| refused(doing(), error.to_string()))?;
        Ok(Self {
            client,
            config,
            pool,
            reply_timeout: limit,
        })
    }

    /// Calls a script.
    pub(super) async fn call(&self, call: &Call) -> Result<Value, StoreError> {
        let doing = || format!("running {}.lua", call.script.name);
        self.bounded(doing, async {
            let mut connection = self.pool.get().await.map_err(|e| of_pool(doing(), e))?;
            let answer = call.on(&mut connection).await;
            answer.map_err(|error| of_call(doing(), &error))
        })
        .await
    }

    /// Sends a plain command; `doing` names it in errors.
    pub(super) async fn query<T: FromRedisValue>(
        &self,
        doing: &str,
        command: &Cmd,
    ) -> Result<T, StoreError> {
        self.bounded(|| doing.to_owned(), async {
            let mut connection = self.pool.get().await.map_err(|e| of_pool(doing, e))?;
            let answer = command.query_async(&mut connection).await;
            answer.map_err(|error| of_call(doing, &error))
        })
        .await
    }

    /// Sends several commands in one round trip.
    pub(super) async fn pipeline<T: FromRedisValue>(
        &self,
        doing: &str,
        commands: &Pipeline,
    ) -> Result<T, StoreError> {
        self.bounded(|| doing.to_owned(), async {
            let mut connection = self.pool.get().await.map_err(|e| of_pool(doing, e))?;
            let answer = commands.query_async(&mut connection).await;
            answer.map_err(|error| of_call(doing, &error))
        })
        .await
    }

    /// A connection outside the pool.
    pub(super) async fn alone(&self, purpose: &str) -> RedisResult<MultiplexedConnection> {
        let client = &self.client;
        let mut connection = client
            .get_multiplexed_async_connection_with_config(&self.config)
            .await?;
        name(&mut connection, purpose).await?;
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

    async fn bounded<T>(
        &self,
        doing: impl FnOnce() -> String,
        operation: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        match tokio::time::timeout(self.reply_timeout, operation).await {
            Ok(answer) => answer,
            Err(_) => Err(away(
                doing(),
                format!("no answer within {:?}", self.reply_timeout),
            )),
        }
    }
}

/// Gives a connection the name that `CLIENT LIST` shows. A role that may not do so goes unnamed: the
/// name is for people.
async fn name(connection: &mut MultiplexedConnection, purpose: &str) -> RedisResult<()> {
    let mut command = cmd("CLIENT");
    command.arg("SETNAME").arg(format!("evergreen-{purpose}"));
    match command.exec_async(connection).await {
        Err(error) if error.clone().into_server_errors().is_none() => Err(error),
        _ => Ok(()),
    }
}
