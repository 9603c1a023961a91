//! Everything that a Redis holds, for tests that look for what must not be there.

use redis::Value;

use super::RedisServer;

impl RedisServer {
    /// All keys and their values, byte for byte, one key a line.
    pub async fn dump(&self) -> Vec<u8> {
        let keys: Vec<String> = self.cli(&["KEYS", "*"]).await;
        let mut all = Vec::new();
        for key in keys {
            let kind: String = self.cli(&["TYPE", &key]).await;
            let read: &[&str] = match kind.as_str() {
                "hash" => &["HGETALL", &key],
                "list" => &["LRANGE", &key, "0", "-1"],
                "set" => &["SMEMBERS", &key],
                "zset" => &["ZRANGE", &key, "0", "-1"],
                "string" => &["GET", &key],
                "stream" => &["XRANGE", &key, "-", "+"],
                // Gone since they were listed.
                "none" => continue,
                other => panic!("{key} is a {other}"),
            };
            all.extend_from_slice(key.as_bytes());
            spread(&self.cli(read).await, &mut all);
            all.push(b'\n');
        }
        all
    }
}

fn spread(value: &Value, into: &mut Vec<u8>) {
    into.push(b' ');
    match value {
        Value::BulkString(bytes) => into.extend_from_slice(bytes),
        Value::Array(parts) => parts.iter().for_each(|part| spread(part, into)),
        other => into.extend_from_slice(format!("{other:?}").as_bytes()),
    }
}
