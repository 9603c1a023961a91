//! What `INFO` says of a server.

use std::collections::HashMap;

use deadpool_redis::redis::aio::ConnectionLike;
use deadpool_redis::redis::{RedisResult, cmd};

/// The fields of `INFO`, all sections.
pub(super) struct Info(HashMap<String, String>);

impl Info {
    pub(super) async fn ask(connection: &mut impl ConnectionLike) -> RedisResult<Self> {
        let text: String = cmd("INFO").query_async(connection).await?;
        Ok(Self::parse(&text))
    }

    pub(super) fn parse(text: &str) -> Self {
        let fields = text.lines().filter_map(|line| line.split_once(':'));
        Self(
            fields
                .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
                .collect(),
        )
    }

    pub(super) fn get(&self, field: &str) -> Option<&str> {
        self.0.get(field).map(String::as_str)
    }

    pub(super) fn is(&self, field: &str, value: &str) -> bool {
        self.get(field) == Some(value)
    }

    /// Major and minor; nothing is older than everything.
    pub(super) fn version(&self) -> (u32, u32) {
        let text = self.get("redis_version").unwrap_or_default();
        let mut parts = text.split('.').map(|part| part.parse().unwrap_or(0));
        (parts.next().unwrap_or(0), parts.next().unwrap_or(0))
    }

    /// Whether the server can be asked, by `WAITAOF`, if its own file has reached the disk.
    pub(super) fn tells_of_its_file(&self) -> bool {
        self.version() >= (7, 2) && self.is("aof_enabled", "1")
    }

    /// Changes when the server restarts, and when a replica takes over.
    pub(super) fn run_id(&self) -> String {
        let of = |field| self.get(field).unwrap_or_default();
        format!("{}:{}", of("run_id"), of("master_replid"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_in_any_section() {
        let info = Info::parse(
            "# Server\r\nredis_version:7.0.15\r\nrun_id:ab\r\n\r\n# Replication\r\nmaster_replid:cd\r\n",
        );
        assert_eq!(info.version(), (7, 0));
        assert_eq!(info.run_id(), "ab:cd");
        assert!(info.is("run_id", "ab") && !info.is("role", "master"));
    }
}
