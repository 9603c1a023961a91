//! A receiver that keeps what came, looks at every signature, and answers as it is told.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use evergreen_tests::eventually;
use ninjaone::webhook::SigningSecrets;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// A webhook that came.
#[derive(Debug, Clone)]
pub(crate) struct Came {
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) text: String,
    pub(crate) body: Value,
    /// What it was answered.
    pub(crate) status: u16,
}

impl Came {
    pub(crate) fn id(&self) -> &str {
        &self.headers["webhook-id"]
    }
}

type Rule = Box<dyn Fn(&Value) -> u16 + Send>;

struct Inner {
    came: Mutex<Vec<Came>>,
    rule: Mutex<Rule>,
    secrets: SigningSecrets,
    /// Answers wait while this says so.
    holds: watch::Sender<bool>,
}

#[derive(Clone)]
pub(crate) struct Receiver {
    inner: Arc<Inner>,
    pub(crate) url: String,
}

impl Receiver {
    /// One that answers 200, and verifies with this secret.
    pub(crate) async fn start(secret: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hook", listener.local_addr().unwrap());
        let inner = Arc::new(Inner {
            came: Mutex::default(),
            rule: Mutex::new(Box::new(|_| 200)),
            secrets: SigningSecrets::parse(secret).unwrap(),
            holds: watch::channel(false).0,
        });
        let server = Arc::clone(&inner);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(Arc::clone(&server).serve(stream));
            }
        });
        Self { inner, url }
    }

    /// From now on it answers so, by the body.
    pub(crate) fn answers(&self, rule: impl Fn(&Value) -> u16 + Send + 'static) {
        *self.inner.rule.lock().unwrap() = Box::new(rule);
    }

    /// Whether answers wait.
    pub(crate) fn holds(&self, holds: bool) {
        self.inner.holds.send_replace(holds);
    }

    pub(crate) fn came(&self) -> Vec<Came> {
        self.inner.came.lock().unwrap().clone()
    }

    /// What came, once it is as wanted.
    pub(crate) async fn until(
        &self,
        what: &str,
        patience: Duration,
        wanted: impl Fn(&[Came]) -> bool,
    ) -> Vec<Came> {
        eventually(what, patience, async || {
            let came = self.came();
            wanted(&came).then_some(came)
        })
        .await
    }
}

impl Inner {
    async fn serve(self: Arc<Self>, mut stream: TcpStream) {
        let Some((headers, text)) = read(&mut stream).await else {
            return;
        };
        let timestamp_s: u64 = headers["webhook-timestamp"].parse().unwrap();
        let signature = self
            .secrets
            .sign(&headers["webhook-id"], timestamp_s, &text);
        let genuine = headers["webhook-signature"] == signature;
        let body: Value = serde_json::from_str(&text).unwrap();
        let status = match genuine {
            true => (self.rule.lock().unwrap())(&body),
            false => 401,
        };
        let came = Came {
            headers,
            text,
            body,
            status,
        };
        self.came.lock().unwrap().push(came);
        let mut held = self.holds.subscribe();
        if held.wait_for(|holds| !holds).await.is_ok() {
            let answer = format!("HTTP/1.1 {status} -\r\ncontent-length: 0\r\n\r\n");
            // Whoever asked may be gone.
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    }
}

/// One whole request; `None` if it was broken off.
async fn read(stream: &mut TcpStream) -> Option<(BTreeMap<String, String>, String)> {
    let mut bytes = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, rest)) = text.split_once("\r\n\r\n") {
            let lines = head
                .lines()
                .skip(1)
                .filter_map(|line| line.split_once(": "));
            let headers: BTreeMap<String, String> = lines
                .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
                .collect();
            let length: usize = headers["content-length"].parse().ok()?;
            if rest.len() >= length {
                return Some((headers, rest.to_owned()));
            }
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
}
