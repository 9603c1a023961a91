//! Where one frame of the Redis protocol ends, and the few words of it that a test looks at.

use tokio::io::{AsyncRead, AsyncReadExt};

/// The most that is read at once.
const READ: usize = 64 * 1024;

/// How the bytes of a connection are cut into what is held or let go as one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    /// By frames of the Redis protocol.
    Redis,
    /// As they come.
    Bytes,
}

/// The frames that a connection brings.
pub(super) struct Frames<R> {
    from: R,
    framing: Framing,
    bytes: Vec<u8>,
}

impl<R: AsyncRead + Unpin> Frames<R> {
    pub(super) fn new(from: R, framing: Framing) -> Self {
        Self {
            from,
            framing,
            bytes: Vec::new(),
        }
    }

    /// The next one; `None` once the connection is at its end.
    pub(super) async fn next(&mut self) -> Option<Vec<u8>> {
        loop {
            let whole = match self.framing {
                Framing::Redis => end(&self.bytes),
                Framing::Bytes => Some(self.bytes.len()).filter(|length| *length > 0),
            };
            if let Some(length) = whole {
                let rest = self.bytes.split_off(length);
                return Some(std::mem::replace(&mut self.bytes, rest));
            }
            let mut more = vec![0; READ];
            match self.from.read(&mut more).await {
                Ok(0) | Err(_) => return None,
                Ok(length) => self.bytes.extend_from_slice(&more[..length]),
            }
        }
    }
}

/// How long the first frame is, if it is there as a whole. Understands both versions of the protocol.
fn end(bytes: &[u8]) -> Option<usize> {
    let line = line(bytes)?;
    let head = line.len() + 2;
    let number = || std::str::from_utf8(&line[1..]).ok()?.parse::<i64>().ok();
    let count = |each: usize| Some(usize::try_from(number()?).unwrap_or(0) * each);
    match line.first()? {
        b'$' | b'=' | b'!' => match usize::try_from(number()?) {
            Ok(length) => Some(head + length + 2).filter(|end| *end <= bytes.len()),
            // Nothing, which has no body.
            Err(_) => Some(head),
        },
        b'*' | b'~' | b'>' => after(bytes, head, count(1)?),
        b'%' | b'|' => after(bytes, head, count(2)?),
        _ => Some(head),
    }
}

/// The end of so many frames.
fn after(bytes: &[u8], from: usize, frames: usize) -> Option<usize> {
    (0..frames).try_fold(from, |at, _| Some(at + end(&bytes[at..])?))
}

fn line(bytes: &[u8]) -> Option<&[u8]> {
    let end = bytes.windows(2).position(|pair| pair == b"\r\n")?;
    Some(&bytes[..end])
}

/// The strings of a frame, those of arrays within arrays too, in their order.
pub(super) fn strings(frame: &[u8]) -> Vec<String> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(line) = line(&frame[at..]) {
        at += line.len() + 2;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        match line.first() {
            Some(b'$' | b'=') => {
                let length = std::str::from_utf8(&line[1..]).unwrap_or_default();
                let Ok(length) = length.parse::<usize>() else {
                    continue;
                };
                found.push(text(&frame[at..at + length]));
                at += length + 2;
            }
            // An error with its sign, so that it is not taken for an answer.
            Some(b'-') => found.push(text(line)),
            Some(b'+' | b':') => found.push(text(&line[1..])),
            _ => {}
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_ends_where_it_ends() {
        let frames: [&[u8]; 8] = [
            b"+OK\r\n",
            b"-NOSCRIPT No matching script.\r\n",
            b"$-1\r\n",
            b"$2\r\n\r\n\r\n",
            b"*-1\r\n",
            b"*0\r\n",
            b"*3\r\n$2\r\nab\r\n*2\r\n:1\r\n:2\r\n$0\r\n\r\n",
            b"%1\r\n+a\r\n:1\r\n",
        ];
        for frame in frames {
            let followed = [frame, b"*1\r\n$4\r\nPING\r\n"].concat();
            assert_eq!(end(&followed), Some(frame.len()), "{frame:?}");
            for short in 0..frame.len() {
                assert_eq!(end(&frame[..short]), None, "{frame:?} cut at {short}");
            }
        }
    }

    #[test]
    fn strings_are_read_in_order_whatever_they_hold() {
        let frame = b"*4\r\n$9\r\ncommitted\r\n*1\r\n$2\r\n\r\n\r\n:7\r\n-ERR no\r\n";
        assert_eq!(strings(frame), ["committed", "\r\n", "7", "-ERR no"]);
    }

    #[tokio::test]
    async fn frames_come_one_by_one_however_the_bytes_come() {
        let bytes: &[u8] = b"*1\r\n$4\r\nPING\r\n+PONG\r\n";
        let mut frames = Frames::new(bytes, Framing::Redis);
        assert_eq!(frames.next().await.unwrap(), b"*1\r\n$4\r\nPING\r\n");
        assert_eq!(frames.next().await.unwrap(), b"+PONG\r\n");
        assert_eq!(frames.next().await, None);
    }
}
