//! The Lua files, and how one is called: by its hash, and by its text where a node does not know it.

use std::sync::LazyLock;

use deadpool_redis::redis::aio::MultiplexedConnection;
use deadpool_redis::redis::{
    self, Cmd, ErrorKind, Pipeline, RedisError, RedisResult, ServerErrorKind, Value,
};

use super::keys::slot_of;

/// A script and its hash.
pub(super) struct Script {
    /// Its name, for errors.
    pub(super) name: &'static str,
    command: &'static str,
    text: &'static str,
    hash: String,
}

impl Script {
    fn new(name: &'static str, text: &'static str) -> Self {
        Self {
            name,
            command: "EVALSHA",
            text,
            hash: redis::Script::new(text).get_hash().to_owned(),
        }
    }

    /// A script that never writes, and that a role may therefore be allowed to run which may not write.
    fn reading(name: &'static str, text: &'static str) -> Self {
        Self {
            command: "EVALSHA_RO",
            ..Self::new(name, text)
        }
    }
}

macro_rules! lua {
    ($name:literal) => {
        include_str!(concat!("../../../scripts/", $name, ".lua"))
    };
}

pub(super) static CLAIM: LazyLock<Script> = LazyLock::new(|| Script::new("claim", lua!("claim")));
pub(super) static COMMIT: LazyLock<Script> =
    LazyLock::new(|| Script::new("commit", lua!("commit")));
pub(super) static SIGNAL: LazyLock<Script> =
    LazyLock::new(|| Script::new("signal", lua!("signal")));
pub(super) static READ: LazyLock<Script> = LazyLock::new(|| Script::reading("read", lua!("read")));
pub(super) static EXTEND: LazyLock<Script> =
    LazyLock::new(|| Script::new("extend", lua!("extend")));
pub(super) static RECONCILE: LazyLock<Script> =
    LazyLock::new(|| Script::new("reconcile", lua!("reconcile")));
pub(super) static REQUEUE: LazyLock<Script> =
    LazyLock::new(|| Script::new("requeue", lua!("requeue")));
pub(super) static DRAIN: LazyLock<Script> = LazyLock::new(|| Script::new("drain", lua!("drain")));
pub(super) static SETTLE: LazyLock<Script> =
    LazyLock::new(|| Script::new("settle", lua!("settle")));
pub(super) static READER: LazyLock<Script> =
    LazyLock::new(|| Script::reading("reader", lua!("reader")));
pub(super) static TURNSTILE: LazyLock<Script> =
    LazyLock::new(|| Script::new("turnstile", lua!("turnstile")));
pub(super) static ENTER: LazyLock<Script> = LazyLock::new(|| Script::new("enter", lua!("enter")));
pub(super) static GATE: LazyLock<Script> = LazyLock::new(|| Script::new("gate", lua!("gate")));
pub(super) static STAMP: LazyLock<Script> = LazyLock::new(|| Script::new("stamp", lua!("stamp")));
pub(super) static KEY_SPACE: LazyLock<Script> = LazyLock::new(|| {
    let text = include_str!("../../../../migrations/0001_key_space.lua");
    Script::new("0001_key_space", text)
});

/// One call of a script.
pub(super) struct Call {
    /// Which.
    pub(super) script: &'static Script,
    keys: Vec<String>,
    args: Vec<String>,
}

impl Call {
    pub(super) fn new(script: &'static Script, keys: Vec<String>, args: Vec<String>) -> Self {
        Self { script, keys, args }
    }

    /// The slot of its keys.
    pub(super) fn slot(&self) -> u16 {
        // Every script names a key.
        self.keys.first().map_or(0, |key| slot_of(key))
    }

    #[cfg(test)]
    pub(super) fn is_of_one_slot(&self) -> bool {
        !self.keys.is_empty() && self.keys.iter().all(|key| slot_of(key) == self.slot())
    }

    /// As it goes over the wire.
    pub(super) fn command(&self) -> Cmd {
        let mut command = redis::cmd(self.script.command);
        command.arg(&self.script.hash).arg(self.keys.len());
        command.arg(&self.keys).arg(&self.args);
        command
    }

    /// Makes it on this connection. Sending it again after `NOSCRIPT` is safe: nothing ran. `asking`:
    /// the slot is on its way to this server.
    pub(super) async fn on(
        &self,
        connection: &mut MultiplexedConnection,
        asking: bool,
    ) -> RedisResult<Value> {
        match send(&self.command(), connection, asking).await {
            Err(error) if is_unknown_script(&error) => {
                load(self.script, connection).await?;
                send(&self.command(), connection, asking).await
            }
            answer => answer,
        }
    }
}

/// Sends a command, if `asking` with the word that makes a server serve a slot that is on its way.
pub(super) async fn send(
    command: &Cmd,
    connection: &mut MultiplexedConnection,
    asking: bool,
) -> RedisResult<Value> {
    if !asking {
        return command.query_async(connection).await;
    }
    let mut both = Pipeline::with_capacity(2);
    both.cmd("ASKING").ignore().add_command(command.clone());
    let mut answers: Vec<RedisResult<Value>> = both.ignore_errors().query_async(connection).await?;
    answers.pop().unwrap_or(Ok(Value::Nil))
}

/// Whether this node does not know the script: it was restarted, flushed, or is another one.
pub(super) fn is_unknown_script(error: &RedisError) -> bool {
    error.kind() == ErrorKind::Server(ServerErrorKind::NoScript)
}

/// Tells a node the text.
pub(super) async fn load(
    script: &Script,
    connection: &mut MultiplexedConnection,
) -> RedisResult<()> {
    let mut command = redis::cmd("SCRIPT");
    command.arg("LOAD").arg(script.text);
    command.exec_async(connection).await
}
