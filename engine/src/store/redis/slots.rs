//! Which server holds which slots: what the nodes of a cluster tell, and the table made of it. A
//! single server holds them all.

use std::collections::HashMap;
use std::sync::Arc;

use deadpool_redis::redis::{Value, from_redis_value};

use super::endpoint::Endpoint;
use super::keys::SLOTS;
use super::node::Node;

/// A run of slots and who holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Share<T> {
    pub(super) first: u16,
    pub(super) last: u16,
    pub(super) holder: T,
}

/// All shares, ordered by slots, and single slots that moved since.
#[derive(Clone, Default)]
pub(super) struct Table {
    shares: Vec<Share<Arc<Node>>>,
    moved: HashMap<u16, Arc<Node>>,
}

impl Table {
    /// Everything lies on one server.
    pub(super) fn of_one(node: Arc<Node>) -> Self {
        Self::of(vec![Share {
            first: 0,
            last: SLOTS - 1,
            holder: node,
        }])
    }

    pub(super) fn of(mut shares: Vec<Share<Arc<Node>>>) -> Self {
        shares.sort_by_key(|share| share.first);
        Self {
            shares,
            moved: HashMap::new(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.shares.is_empty()
    }

    /// Who holds a slot.
    pub(super) fn holder(&self, slot: u16) -> Option<&Arc<Node>> {
        if let Some(node) = self.moved.get(&slot) {
            return Some(node);
        }
        let after = self.shares.partition_point(|share| share.first <= slot);
        let share = self.shares.get(after.checked_sub(1)?)?;
        (share.last >= slot).then_some(&share.holder)
    }

    /// A slot has moved.
    pub(super) fn with(&self, slot: u16, node: Arc<Node>) -> Self {
        let mut table = self.clone();
        table.moved.insert(slot, node);
        table
    }

    /// All servers, each once, in the order of their first slots.
    pub(super) fn nodes(&self) -> Vec<Arc<Node>> {
        let mut nodes: Vec<Arc<Node>> = Vec::new();
        let all = self.shares.iter().map(|share| &share.holder);
        for node in all.chain(self.moved.values()) {
            if !nodes.iter().any(|known| known.at == node.at) {
                nodes.push(Arc::clone(node));
            }
        }
        nodes
    }

    /// The first slot that each server holds, in order.
    pub(super) fn firsts(&self) -> Vec<(u16, Arc<Node>)> {
        let mut firsts: Vec<(u16, Arc<Node>)> = Vec::new();
        for share in &self.shares {
            if !firsts.iter().any(|(_, node)| node.at == share.holder.at) {
                firsts.push((share.first, Arc::clone(&share.holder)));
            }
        }
        firsts
    }
}

/// Reads the answer to `CLUSTER SLOTS`. `teller` is the host that was asked: a node may leave out the
/// name that it was called by.
pub(super) fn shares(told: Value, teller: &str) -> Option<Vec<Share<Endpoint>>> {
    let Value::Array(shares) = told else {
        return None;
    };
    let read = |share: Value| {
        let Value::Array(parts) = share else {
            return None;
        };
        // The master comes first, its replicas after it.
        let mut parts = parts.into_iter();
        let first = from_redis_value(parts.next()?).ok()?;
        let last = from_redis_value(parts.next()?).ok()?;
        let Value::Array(master) = parts.next()? else {
            return None;
        };
        let mut master = master.into_iter();
        let host: Option<String> = from_redis_value(master.next()?).ok()?;
        let port: u16 = from_redis_value(master.next()?).ok()?;
        let at = format!("{}:{port}", host.unwrap_or_default());
        Some(Share {
            first,
            last,
            holder: Endpoint::told_by(&at, teller)?,
        })
    };
    shares.into_iter().map(read).collect()
}

#[cfg(test)]
mod tests {
    use deadpool_redis::redis::parse_redis_value;

    use super::*;
    use crate::store::redis::RedisOptions;
    use crate::store::redis::address::Address;

    #[test]
    fn the_answer_of_a_node_is_read_with_its_gaps() {
        let told = b"*3\r\n\
            *4\r\n:0\r\n:99\r\n*3\r\n$8\r\n10.0.0.1\r\n:7000\r\n$2\r\nab\r\n*3\r\n$8\r\n10.0.0.9\r\n:7\r\n$2\r\ncd\r\n\
            *3\r\n:200\r\n:300\r\n*3\r\n$0\r\n\r\n:7001\r\n$2\r\nef\r\n\
            *3\r\n:400\r\n:400\r\n*3\r\n$-1\r\n:7002\r\n$2\r\ngh\r\n";
        let told = parse_redis_value(told).unwrap();
        let read = shares(told, "me").unwrap();
        let seen: Vec<_> = read
            .iter()
            .map(|s| (s.first, s.last, s.holder.to_string()))
            .collect();
        let wanted = [
            (0, 99, "10.0.0.1:7000".to_owned()),
            (200, 300, "me:7001".to_owned()),
            (400, 400, "me:7002".to_owned()),
        ];
        assert_eq!(seen, wanted);
        assert_eq!(shares(Value::Okay, "me"), None);
    }

    #[tokio::test]
    async fn a_slot_is_found_where_it_lies_or_nowhere() {
        let options = RedisOptions::new("redis+cluster://h");
        let address = Address::parse(&options.url).unwrap();
        let node = |port| {
            let at = Endpoint {
                host: "h".to_owned(),
                port,
            };
            Node::new(at, &address, &options).unwrap()
        };
        let (a, b) = (node(1), node(2));
        let share = |first, last, holder: &Arc<Node>| Share {
            first,
            last,
            holder: Arc::clone(holder),
        };
        let table = Table::of(vec![
            share(200, 299, &a),
            share(0, 99, &b),
            share(100, 150, &a),
        ]);
        let holder = |table: &Table, slot| table.holder(slot).map(|node| node.at.port);
        let seen: Vec<_> = [0, 99, 100, 150, 151, 200, 299, 300]
            .map(|slot| holder(&table, slot))
            .into();
        let wanted = [
            Some(2),
            Some(2),
            Some(1),
            Some(1),
            None,
            Some(1),
            Some(1),
            None,
        ];
        assert_eq!(seen, wanted);
        let firsts: Vec<_> = table
            .firsts()
            .iter()
            .map(|(s, n)| (*s, n.at.port))
            .collect();
        assert_eq!(firsts, [(0, 2), (100, 1)]);
        let moved = table.with(99, node(3));
        assert_eq!((holder(&moved, 99), holder(&moved, 98)), (Some(3), Some(2)));
        assert_eq!(moved.nodes().len(), 3);
        let one = Table::of_one(a);
        assert_eq!(
            (holder(&one, 0), holder(&one, SLOTS - 1)),
            (Some(1), Some(1))
        );
    }
}
