//! Reading numbers and strings one after the other, never beyond the end.

/// The bytes of a file that are not read yet.
#[derive(Clone)]
pub(super) struct Reader<'a> {
    rest: &'a [u8],
    position: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes, position: 0 }
    }

    /// Bytes that are read.
    pub(super) fn position(&self) -> usize {
        self.position
    }

    pub(super) fn take(&mut self, count: usize) -> Result<&'a [u8], String> {
        let Some((taken, rest)) = self.rest.split_at_checked(count) else {
            return Err(format!(
                "{count} bytes are expected at byte {} and {} are left: truncated?",
                self.position,
                self.rest.len()
            ));
        };
        self.rest = rest;
        self.position += count;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], String> {
        Ok(self.take(N)?.try_into().expect("so many were taken"))
    }

    pub(super) fn u32(&mut self) -> Result<u32, String> {
        self.array().map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Result<u64, String> {
        self.array().map(u64::from_le_bytes)
    }

    pub(super) fn string(&mut self) -> Result<&'a [u8], String> {
        let length = self.u64()?;
        let length = usize::try_from(length).map_err(|_| format!("a string claims {length} bytes"))?;
        self.take(length)
    }

    /// A name of at most so many bytes.
    pub(super) fn text(&mut self, most: usize) -> Result<&'a str, String> {
        let at = self.position;
        let bytes = without_end(self.string()?);
        if bytes.len() > most {
            return Err(format!("the name at byte {at} has {} bytes; at most {most} are read", bytes.len()));
        }
        str::from_utf8(bytes).map_err(|_| format!("the name at byte {at} is no UTF-8"))
    }
}

/// A string without zeros at its end, which some writers put there.
pub(super) fn without_end(bytes: &[u8]) -> &[u8] {
    let end = bytes.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
    &bytes[..end]
}
