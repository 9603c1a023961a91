//! How secrets are written down between the seals: a shape, then fields, each with its length.
//!
//! Not JSON, because a JSON reader unescapes into buffers of its own and leaves them behind unwiped.
//! Here every buffer is made once at its final size and wiped when dropped.

use secrecy::zeroize::Zeroizing;

/// Writes the fields of one value. `shape` tells kinds of values, and their versions, apart.
pub(super) fn write(shape: u8, fields: &[(u8, &str)]) -> Zeroizing<Vec<u8>> {
    let size = fields.iter().map(|(_, text)| 9 + text.len()).sum::<usize>() + 1;
    let mut bytes = Zeroizing::new(Vec::with_capacity(size));
    bytes.push(shape);
    for (tag, text) in fields {
        bytes.push(*tag);
        bytes.extend_from_slice(&(text.len() as u64).to_be_bytes());
        bytes.extend_from_slice(text.as_bytes());
    }
    debug_assert_eq!(
        bytes.len(),
        size,
        "a buffer that grew has left a copy behind"
    );
    bytes
}

/// Reads what [`write`] wrote; nothing if it is of another shape or not whole.
pub(super) fn read(shape: u8, bytes: &[u8]) -> Option<Vec<(u8, &str)>> {
    let (first, mut rest) = bytes.split_first()?;
    if *first != shape {
        return None;
    }
    let mut fields = Vec::new();
    while let Some((tag, after_tag)) = rest.split_first() {
        let (length, after_length) = after_tag.split_first_chunk()?;
        let length = usize::try_from(u64::from_be_bytes(*length)).ok()?;
        let (text, after_text) = after_length.split_at_checked(length)?;
        fields.push((*tag, str::from_utf8(text).ok()?));
        rest = after_text;
    }
    Some(fields)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_was_written_is_read(shape: u8, fields: Vec<(u8, String)>) {
            let fields: Vec<_> = fields.iter().map(|(tag, text)| (*tag, text.as_str())).collect();
            let bytes = write(shape, &fields);
            prop_assert_eq!(read(shape, &bytes), Some(fields));
        }

        #[test]
        fn no_bytes_make_it_panic(shape: u8, bytes: Vec<u8>) {
            let _ = read(shape, &bytes);
        }
    }

    #[test]
    fn another_shape_or_a_missing_end_is_nothing() {
        let bytes = write(1, &[(b'a', "access"), (b'r', "refresh")]);
        assert_eq!(read(2, &bytes), None);
        let whole_fields = [1, 1 + 9 + 6, bytes.len()];
        for end in 0..=bytes.len() {
            assert_eq!(
                read(1, &bytes[..end]).is_some(),
                whole_fields.contains(&end),
                "cut at {end}"
            );
        }
    }
}
