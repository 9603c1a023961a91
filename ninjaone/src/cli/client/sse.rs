//! Reading server-sent events (the `text/event-stream` of the HTML standard), as far as ours go.

use reqwest::Response;

/// What the longest event may take.
const EVENT_MAX: usize = 1024 * 1024;

/// One event of the stream.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Event {
    /// The place in the feed to go on from.
    pub id: Option<String>,
    /// Its name.
    pub name: Option<String>,
    /// JSON.
    pub data: String,
}

/// What came next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Next {
    /// An event.
    Event(Event),
    /// A comment: the server is alive and has nothing to say.
    Alive,
    /// The stream ended.
    End,
}

/// An open stream.
pub(crate) struct Events {
    answer: Response,
    parser: Parser,
}

impl Events {
    pub(super) fn new(answer: Response) -> Self {
        Self {
            answer,
            parser: Parser::default(),
        }
    }

    /// Waits for what comes next. Dropping the future loses nothing.
    ///
    /// # Errors
    /// Why the stream broke off.
    pub(crate) async fn next(&mut self) -> Result<Next, String> {
        loop {
            if let Some(next) = self.parser.take() {
                return Ok(next);
            }
            match self.answer.chunk().await {
                Ok(Some(chunk)) => self.parser.feed(&chunk)?,
                Ok(None) => return Ok(Next::End),
                Err(e) => return Err(super::innermost(&e)),
            }
        }
    }
}

#[derive(Default)]
struct Parser {
    bytes: Vec<u8>,
    event: Event,
}

impl Parser {
    fn feed(&mut self, chunk: &[u8]) -> Result<(), String> {
        self.bytes.extend_from_slice(chunk);
        if self.bytes.len() + self.event.data.len() > EVENT_MAX {
            return Err("an event is too long".to_owned());
        }
        Ok(())
    }

    /// The next thing that is complete.
    fn take(&mut self) -> Option<Next> {
        loop {
            let end = self.bytes.iter().position(|&b| b == b'\n')?;
            let line: Vec<u8> = self.bytes.drain(..=end).collect();
            let line = String::from_utf8_lossy(&line);
            let line = line.trim_end_matches(['\n', '\r']);
            if line.is_empty() {
                let event = std::mem::take(&mut self.event);
                if !event.data.is_empty() {
                    return Some(Next::Event(event));
                }
                continue;
            }
            let (field, value) = line.split_once(':').unwrap_or((line, ""));
            let value = value.strip_prefix(' ').unwrap_or(value);
            match field {
                "" => return Some(Next::Alive),
                "id" => self.event.id = Some(value.to_owned()),
                "event" => self.event.name = Some(value.to_owned()),
                "data" => {
                    if !self.event.data.is_empty() {
                        self.event.data.push('\n');
                    }
                    self.event.data.push_str(value);
                }
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_read_however_they_are_cut() {
        let text = ": alive\n\nid: 3.1-0\r\nevent: X\ndata: {\"a\":\ndata: 1}\nretry: 5\n\n\n";
        let expected = [
            Next::Alive,
            Next::Event(Event {
                id: Some("3.1-0".to_owned()),
                name: Some("X".to_owned()),
                data: "{\"a\":\n1}".to_owned(),
            }),
        ];
        for size in 1..text.len() {
            let mut parser = Parser::default();
            let mut read = Vec::new();
            for chunk in text.as_bytes().chunks(size) {
                parser.feed(chunk).unwrap();
                while let Some(next) = parser.take() {
                    read.push(next);
                }
            }
            assert_eq!(read, expected, "in pieces of {size}");
        }
    }

    #[test]
    fn an_event_without_end_is_refused() {
        let mut parser = Parser::default();
        assert!(parser.feed(&vec![b'x'; EVENT_MAX + 1]).is_err());
    }
}
